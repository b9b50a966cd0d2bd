"""Grounding in the stages: the moments and highlights that a sentence describes."""

import math
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.data import check_backbone, load_features, load_labels, pretraining_videos
from pipeline.plugins import RESTITCHERS
from pipeline.tasks import Aligner, Baselines, Rows
from pipeline.tasks.joint import cosine, fit_space, linear_map, sums_file
from read.backbones import Backbone, build_backbone, get_backbone, load_backbone
from read.backbones.base import TransformerConfig
from read.backbones.grounding.joint import JointBackbone
from read.backbones.joint_space import JointSpace
from read.data import Annotation, FeatureStore, Sample, make_samples
from read.data.joined import Joiner, lengthened
from read.errors import InputError
from read.files import read_json
from read.grounding.ceilings import ceilings, mean_scores
from read.grounding.choice import choose_reading, warnings_of
from read.grounding.inference import forward_batches, predict
from read.grounding.ridge import MapSums, fit_map
from read.grounding.shots import shot_rows
from read.grounding.task import Grounding
from read.grounding.threshold import absent_samples, best_threshold, confidence
from read.grounding.windows import WindowSettings
from read.metrics.discrimination import discrimination
from read.metrics.protocol import Protocol, get_protocol
from read.rows import id_key

NAME = "grounding"
LOOKED_AT = 64  # samples at a time
CHOOSE = 2000  # validation samples at most that choose how windows are read: joining takes the square of their number
LENGTHENED = 4  # validation videos that are joined: what is best in a short one may fail in a long one
KNOWN = 0.65  # share of the steps of pretraining after which what is not in a video is learned too
JOINED = 0.4  # share of a batch that is then pieces of joined videos; a third of these holds no moment


class GroundingWork:
    """See `pipeline.tasks.Work`."""

    def __init__(self, settings: SimpleNamespace) -> None:
        self.settings = settings
        self._sums = MapSums.nothing(0, 0)
        self._fitted: dict[frozenset[str], Backbone] = {}

    def samples(self, dataset: str, videos: Collection[str] | None = None) -> tuple[list[Sample], dict[str, Any]]:
        """Samples and what made their features. Raises InputError for no sample at all."""
        store = load_features(dataset, self.settings)
        wanted = store.videos if videos is None else set(videos)
        labels = [annotation for annotation in load_labels(NAME, dataset, self.settings) if annotation.vid in wanted]
        if not labels:
            raise InputError(f"{dataset}: none of the {len(wanted)} videos asked for has a query")
        return make_samples(labels, store, self.settings.clip_len), store.spec

    def source(self) -> tuple[Backbone, list[Sample], dict[str, Any] | None, int]:
        """A new backbone and what to train it on, or one that takes no step: published, or fitted in closed form."""
        wanted = self.settings.pretrain
        labels = load_labels(NAME, self.settings.source, self.settings)
        samples, spec = self.samples(self.settings.source, pretraining_videos(labels, self.settings.domain))
        dims = samples[0].clips.shape[-1], samples[0].words.shape[-1]
        columns = columns_of(load_features(self.settings.source, self.settings))
        if wanted.checkpoint is not None:
            settings = columns | {"max_clips": wanted.max_clips}
            return load_public(self.settings.backbone, wanted.checkpoint, dims, settings), samples, None, 0
        model = build(self.settings.backbone, wanted, dims, columns)
        return model, samples, spec, 0 if isinstance(model, JointBackbone) else wanted.steps

    def settle(self, model: Backbone, train: Sequence[Sample], val: Sequence[Sample], own: bool) -> dict[str, Any]:
        """The map into the joint space; how windows are read off, and what weight the joint space has beside a model.

        Where the source is the dataset itself, nothing of it is looked at: its test videos are among them.
        """
        config = model.config
        chosen: dict[str, Any] = {}
        if not own:
            chosen = self._choose(model, train, val)
        if not own and config.joint_dim:
            self._sums = MapSums.of([*train, *val], config.joint_start, config.joint_dim)
        else:
            self._sums = MapSums.nothing(config.video_dim, config.joint_dim)
        if model.joint_space is not None:
            fit_map(model.joint_space, self._sums)
        if own:
            return {"warnings": []}
        rows = self.predict(model, val)
        told = {"source_val": discrimination_of(rows, val)}
        if told["source_val"]:
            told["source_train"] = discrimination_of(self.predict(model, train), train)
        return chosen | {"discrimination": told, "warnings": warnings_of(rows, [sample.annotation for sample in val])}

    def _choose(self, model: Backbone, train: Sequence[Sample], val: Sequence[Sample]) -> dict[str, Any]:
        config = model.config
        if config.joint_dim:
            if model.joint_space is None:
                model.add_prior(JointSpace(config.video_dim, config.joint_start, config.joint_dim, trains=False), 1.0)
            fit_map(model.joint_space, MapSums.of(train, config.joint_start, config.joint_dim))
        chosen_by = val[:: math.ceil(len(val) / CHOOSE)]
        choice = choose_reading(
            model, lengthened(chosen_by, LENGTHENED) or chosen_by, metric_name(self.settings.source)
        )
        if model.prior is not None:
            model.add_prior(model.prior if choice.prior else None, choice.prior)
        model.config = replace(model.config, windows=choice.windows)
        told = "; ".join(
            f"{way} " + ", ".join(f"{score:.1f}" + f" (prior {weight})" * (len(of) > 1) for weight, score in of.items())
            for way, of in choice.scores.items()
        )
        print(f"windows are read off by {choice.windows}, prior {choice.prior:g}; on joined validation videos: {told}")
        return {"windows": {"chosen": choice.windows, "prior": choice.prior, "scores": choice.scores}}

    def save(self, model: Backbone) -> None:
        """Write the backbone, and what its map is fitted to."""
        model.save(paths.backbone(NAME))
        self._sums.save(sums_file())

    def backbone(self, labelled: Sequence[Sample] = ()) -> Backbone:
        """The pretrained backbone; with labelled samples, the map into its joint space is fitted to them too."""
        labels = frozenset(id_key(sample.question.qid) for sample in labelled)
        if not labels:
            return load_backbone(check_backbone(paths.backbone(NAME)))
        if labels not in self._fitted:  # a run asks for the same at every learning rate
            self._fitted[labels] = fit_space(self.backbone(), labelled)
        return deepcopy(self._fitted[labels])

    def task(self, dataset: str) -> Grounding:
        """The losses of the backbone, and to choose by, the dataset's own metric of windows read as the report does."""
        return Grounding(WindowSettings(self.settings.evaluate.windows), metric_name(dataset))

    def pretraining(self, model: Backbone, train: Sequence[Sample]) -> Grounding:
        """The same on the source, with its videos stitched anew where they can be, and pieces of joined ones.

        Pieces come once moments are known: they may hold none.
        Longer videos than the source's are later read in pieces as long as its longest: a model that regresses windows
        as shares of the whole has learned no other scale.
        """
        longest = min(model.config.max_clips, max(len(sample.clips) for sample in train))
        model.config = replace(model.config, max_clips=longest)
        steps, source = self.settings.pretrain.steps, paths.raw(self.settings.source)
        joiner = Joiner(train, longest, JOINED, int(KNOWN * steps))
        made = read_json(source / "dataset.json")["videos"]
        if made in RESTITCHERS.names():
            stitched = RESTITCHERS.load(made)(train, source, steps)
            return replace(self.task(self.settings.source), joiner=lambda samples: anew(samples, joiner, stitched))
        return replace(self.task(self.settings.source), joiner=joiner)

    def inference_settings(self, model: Backbone, val: Sequence[Sample]) -> dict[str, Any]:
        """How windows are read off, `threshold`, from which score on a moment is worth showing, and `confidence`."""
        rows, labels = self.predict(model, val), [sample.annotation for sample in val]
        asked = absent_samples(val)
        absent = self.predict(model, asked) if asked else []
        bar = best_threshold(rows, labels, absent)
        worth = confidence(rows, labels, absent, bar)
        return {"predict": {"method": self.settings.evaluate.windows}, "threshold": bar, "confidence": worth}

    def predict(self, model: Backbone, samples: Sequence[Sample]) -> Rows:
        """Windows and saliency for every query."""
        return predict(model, samples, WindowSettings(self.settings.evaluate.windows))

    def scores(self, rows: Rows, samples: Sequence[Sample]) -> dict[str, Any]:
        """Scores of all queries and of each kind of query, by the dataset's own metric; warnings."""
        metric, clip_len = metric_of(self.settings.dataset), self.settings.clip_len

        row_of = {row["qid"]: row for row in rows}

        def score(part: list[Annotation]) -> dict[str, float]:
            return metric.scores([row_of[annotation.qid] for annotation in part], part, clip_len)

        warnings = warnings_of(rows, [sample.annotation for sample in samples])
        told = {"discrimination": discrimination_of(rows, samples), "warnings": warnings}
        return by_kind(samples, score) | {"by_video": by_video(samples, score)} | told

    def baselines(self, samples: Sequence[Sample]) -> Baselines:
        """`random` ranks clips and draws windows by chance, `oracle` predicts the ground truth.

        `perfect_clips` and, where labels have distractors, `subject_only` are those of `read.grounding.ceilings`.
        Where the encoder has a joint space, `cosine` compares its own embeddings of clips and sentence, and `shots`
        those of whole shots.
        """
        metric, clip_len = metric_of(self.settings.dataset), self.settings.clip_len
        draws = self.settings.evaluate.random_draws
        rows = {
            "random": by_kind(samples, lambda part: metric.random(part, clip_len, draws, 0)),
            "oracle": by_kind(samples, lambda part: metric.oracle(part, clip_len)),
        }
        for name, tries in ceilings(samples, WindowSettings(self.settings.evaluate.windows), draws).items():
            rows[name] = by_kind(samples, lambda part, tries=tries: mean_scores(tries, part, metric, clip_len))
        if (model := cosine(self.backbone())) is not None:
            rows["cosine"] = self.scores(self.predict(model, samples), samples)
            rows["shots"] = self.scores(shot_rows(model.space, samples), samples)
        return rows

    def linear_map(self, labelled: Sequence[Sample]) -> Backbone | None:
        """The map into the joint space as a model of its own."""
        return linear_map(self.backbone(), labelled)

    def attention_maps(
        self, model: Backbone, samples: Sequence[Sample], alignment: Aligner | None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The plans (clips, words) of strategies that align, with the words and the mass that is moved."""
        if alignment is None:
            return {}, {}
        words = read_json(paths.features(self.settings.dataset) / "words.json")
        plans, notes = {}, {}
        for part, _ in forward_batches(model, samples, LOOKED_AT):
            for sample, plan in zip(part, alignment.plans(model), strict=True):
                qid = id_key(sample.annotation.qid)
                plans[qid] = plan
                said = (
                    words[qid] if plan.shape[1] == len(words[qid]) else [sample.question.query]
                )  # `joint` reads it whole
                notes[qid] = {"words": said, "mass": alignment.mass}
        return plans, notes


WORK = GroundingWork


def anew(samples: Sequence[Sample], joiner: Joiner, stitched: Callable[[int], list[Sample]]) -> list[Sample]:
    """A batch of what the joiner made of some samples, and of newly stitched ones in the place of the others."""
    batch = zip(samples, joiner(samples), stitched(len(samples)), strict=True)
    return [new if part is sample else part for sample, part, new in batch]


def metric_of(dataset: str) -> Protocol:
    """How the dataset's queries are scored, as its card says."""
    return get_protocol(metric_name(dataset))


def metric_name(dataset: str) -> str:
    """The name of that."""
    return read_json(paths.raw(dataset) / "dataset.json")["metric"]


def by_kind(samples: Sequence[Sample], score: Callable[[list[Annotation]], dict[str, float]]) -> dict[str, Any]:
    """`scores` of all annotations, and `by_kind` of each kind that they name."""
    annotations = [sample.annotation for sample in samples]
    kinds = sorted({annotation.kind for annotation in annotations} - {""})
    return {
        "scores": score(annotations),
        "by_kind": {kind: score([a for a in annotations if a.kind == kind]) for kind in kinds},
    }


def discrimination_of(rows: Rows, samples: Sequence[Sample]) -> dict[str, float]:
    """`discrimination` of the curves that windows are read off; of a model without one, of its saliency."""
    curves = [row.get("pred_clip_scores", row["pred_saliency_scores"]) for row in rows]
    return discrimination(curves, [sample.annotation for sample in samples], samples[0].clip_len)


def by_video(samples: Sequence[Sample], score: Callable[[list[Annotation]], dict[str, float]]) -> list[dict[str, Any]]:
    """`scores` of each video's queries of each kind, and how many these are, for a bootstrap over videos."""
    groups: dict[tuple[str, str], list[Annotation]] = {}
    for sample in samples:
        groups.setdefault((sample.vid, sample.annotation.kind), []).append(sample.annotation)
    return [
        {"vid": vid, "kind": kind, "samples": len(part), "scores": score(part)} for (vid, kind), part in groups.items()
    ]


def columns_of(features: FeatureStore) -> dict[str, int]:
    """Where the features have the joint space and the sound, as fields of a backbone's config; nothing: nowhere."""
    found = {"joint": features.joint, "sound": features.sound}
    return {
        f"{name}_{key}": value
        for name, columns in found.items()
        if columns is not None
        for key, value in (("start", columns.start), ("dim", columns.stop - columns.start))
    }


def load_public(backbone: str, checkpoint: str, dims: tuple[int, int], settings: dict[str, Any]) -> Backbone:
    """The public checkpoint that params.yaml names. Raises InputError where it takes features of other widths."""
    model = get_backbone(backbone).load_published(checkpoint, **settings)
    takes = (model.config.video_dim, model.config.text_dim)
    if takes != dims:
        raise InputError(
            f"{checkpoint}: takes video and text features of widths {takes}, but those extracted have {dims}; "
            "choose the encoders that it was trained with"
        )
    if model.config.listens and not model.config.sound_dim:
        print(f"{checkpoint}: listens, but no encoder hears; it is given silence")
    return model


def build(backbone: str, wanted: SimpleNamespace, dims: tuple[int, int], columns: dict[str, int]) -> Backbone:
    """A new backbone for features of these widths, of which `columns_of` tells; it is told what it knows.

    One that can listen does, where something was heard.
    """
    kind = get_backbone(backbone).config_class
    names = ("hidden", "layers", "heads", "feed_forward", "dropout", "tef", "max_clips", "listwise")
    given = {name: getattr(wanted, name) for name in names}
    given |= {"input_dropout": wanted.dropout, "drop_path": wanted.dropout, "audio_dim": columns.get("sound_dim", 0)}
    if not issubclass(kind, TransformerConfig):
        given = {}  # these are a transformer's
    known = {field.name for field in fields(kind)}
    options = {name: value for name, value in given.items() if name in known}
    return build_backbone(backbone, video_dim=dims[0], text_dim=dims[1], **options, **columns)
