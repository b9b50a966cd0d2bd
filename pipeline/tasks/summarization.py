"""Summarization in the stages: a short text from a transcript and frames."""

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.data import check_backbone, load_features, load_labels, pretraining_videos
from pipeline.tasks import Aligner, Baselines, Rows
from read.backbones.tokenizer import hub_name, load_tokenizer, train_tokenizer
from read.backbones.visual_guidance import VisualGuidance
from read.errors import InputError
from read.files import atomic_path
from read.metrics.summarization import evaluate, rouge
from read.plugins import TEXT_MODELS, nearest
from read.summarization.summarize import (
    OUTPUT_TOKENS,
    SummarySample,
    lead,
    longest_transcript,
    make_summary_samples,
    shuffled,
    summarize,
    visual_attention,
)
from read.summarization.task import Summarization

NAME = "summarization"
TOKENIZER = "tokenizer"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


class SummarizationWork:
    """See `pipeline.tasks.Work`."""

    def __init__(self, settings: SimpleNamespace) -> None:
        self.settings = settings
        self._tokenizer: Any = None

    @property
    def tokenizer(self) -> Any:
        """The pretrained model's tokenizer."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(paths.backbone(NAME) / TOKENIZER)
        return self._tokenizer

    def samples(
        self, dataset: str, videos: Collection[str] | None = None
    ) -> tuple[list[SummarySample], dict[str, Any]]:
        """Samples and what made their features; what is cut of texts that are too long is printed.

        Raises:
            InputError: no sample at all.
        """
        return self._samples(dataset, videos, self._longest)

    def source(self) -> tuple[VisualGuidance, list[SummarySample], dict[str, Any] | None, int]:
        """A small model and its tokenizer, or a public model whose guide is new, and what to train it on."""
        wanted, source = self.settings.pretrain, self.settings.source
        store = load_features(source, self.settings)
        video_dim = store.clips(min(store.videos)).shape[-1]
        labels = load_labels(NAME, source, self.settings)
        videos = pretraining_videos(labels, self.settings.domain)
        if self.settings.backbone in TEXT_MODELS.names():
            seen = [label for label in labels if videos is None or label.vid in videos]
            self._tokenizer = train_tokenizer(
                (text for label in seen for text in (label.transcript, label.summary)), wanted.vocabulary
            )
            sizes = {name: getattr(wanted, name) for name in ("hidden", "layers", "heads", "feed_forward", "dropout")}
            make = TEXT_MODELS.load(self.settings.backbone)
            model = make(len(self._tokenizer), video_dim, visual_layers=wanted.visual_layers, **sizes)
        else:
            self._tokenizer = public_tokenizer(self.settings.backbone)
            guide = {"visual_layers": wanted.visual_layers, "dropout": wanted.dropout}
            model = VisualGuidance.from_pretrained(self.settings.backbone, video_dim=video_dim, **guide)
        samples, spec = self._samples(source, videos, longest_transcript(model))
        return model, samples, spec if wanted.steps else None, wanted.steps

    def settle(
        self, model: VisualGuidance, train: Sequence[SummarySample], val: Sequence[SummarySample], own: bool
    ) -> dict[str, Any]:
        """There is nothing to choose."""
        return {"warnings": []}

    def save(self, model: VisualGuidance) -> None:
        """Write the model and its tokenizer."""
        model.save(paths.backbone(NAME))
        with atomic_path(paths.backbone(NAME) / TOKENIZER) as draft:
            self.tokenizer.save_pretrained(draft)
            if absent := [name for name in TOKENIZER_FILES if not (draft / name).is_file()]:
                raise InputError(f"{self.settings.backbone}: its tokenizer writes no {', '.join(absent)}")
            for other in set(draft.iterdir()) - {draft / name for name in TOKENIZER_FILES}:
                other.unlink()  # what older versions of transformers read

    def backbone(self, labelled: Sequence[SummarySample] = ()) -> VisualGuidance:
        """The pretrained model, of which nothing is fitted in closed form."""
        return VisualGuidance.load(check_backbone(paths.backbone(NAME)))

    def task(self, dataset: str) -> Summarization:
        """Cross-entropy of the summaries' tokens, chosen by ROUGE-L."""
        return Summarization(self.tokenizer)

    def pretraining(self, model: VisualGuidance, train: Sequence[SummarySample]) -> Summarization:
        """The source is learned as any dataset is."""
        return self.task(self.settings.source)

    def inference_settings(self, model: VisualGuidance, val: Sequence[SummarySample]) -> dict[str, Any]:
        """How summaries are searched for."""
        return {"predict": {"beams": self.settings.evaluate.beams}}

    def predict(self, model: VisualGuidance, samples: Sequence[SummarySample]) -> Rows:
        """A summary of every video."""
        return summarize(model, self.tokenizer, samples, beams=self.settings.evaluate.beams)

    def scores(self, rows: Rows, samples: Sequence[SummarySample]) -> dict[str, Any]:
        """Scores of all summaries."""
        return {
            "scores": evaluate(rows, [_reference(sample) for sample in samples]),
            "by_kind": {},
            "by_video": by_video(rows, samples),
            "warnings": [],
        }

    def baselines(self, samples: Sequence[SummarySample]) -> Baselines:
        """`shuffled` gives each video another's summary, `lead` the first sentence of its transcript."""
        vids = {sample.vid for sample in samples}
        labels = [label for label in load_labels(NAME, self.settings.dataset, self.settings) if label.vid in vids]
        draws = [self.scores(rows, samples)["scores"] for rows in shuffled(labels, self.settings.evaluate.random_draws)]
        mean = {name: fmean(draw[name] for draw in draws) for name in draws[0]}
        return {"shuffled": {"scores": mean, "by_kind": {}}, "lead": self.scores(lead(labels), samples)}

    def linear_map(self, labelled: Sequence[SummarySample]) -> None:
        """None."""

    def attention_maps(
        self, model: VisualGuidance, samples: Sequence[SummarySample], alignment: Aligner | None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What every word of the transcripts attends to: (words, clips), and the words."""
        rows = visual_attention(model, self.tokenizer, [sample for sample in samples if len(sample.clips)])
        return {row["vid"]: row["attention"] for row in rows}, {row["vid"]: {"words": row["words"]} for row in rows}

    @cached_property
    def _longest(self) -> int:
        return longest_transcript(self.backbone())

    def _samples(
        self, dataset: str, videos: Collection[str] | None, longest: int
    ) -> tuple[list[SummarySample], dict[str, Any]]:
        store = load_features(dataset, self.settings)
        wanted = store.videos if videos is None else set(videos)
        labels = [label for label in load_labels(NAME, dataset, self.settings) if label.vid in wanted]
        if not labels:
            raise InputError(f"{dataset}: none of the {len(wanted)} videos asked for has a summary")
        samples, cut = make_summary_samples(labels, store.clips, self.tokenizer, longest, min(OUTPUT_TOKENS, longest))
        for what, lost in cut.items():
            if lost.texts:
                print(f"{dataset}: {lost.texts} of {len(labels)} {what} texts were too long; {lost.tokens} tokens cut")
        return samples, store.spec


WORK = SummarizationWork


def public_tokenizer(name: str) -> Any:
    """The tokenizer of a folder, or of a name on the hub. Raises InputError where there is none."""
    from transformers import AutoTokenizer

    if Path(name).is_dir():
        return load_tokenizer(name)
    try:
        return AutoTokenizer.from_pretrained(**hub_name(name), trust_remote_code=False)
    except (OSError, ValueError) as error:
        hint = "".join(f"; did you mean {small}?" for small in nearest(name, TEXT_MODELS.names()))
        raise InputError(f"{name}: no tokenizer of transformers ({str(error).strip().splitlines()[0]}){hint}") from None


def by_video(rows: Rows, samples: Sequence[SummarySample]) -> list[dict[str, Any]]:
    """ROUGE of each video, which is a mean over them, for a bootstrap over videos."""
    written = {row["vid"]: row["summary"] for row in rows}
    return [{"vid": s.vid, "kind": "", "samples": 1, "scores": rouge([written[s.vid]], [s.summary])} for s in samples]


def _reference(sample: SummarySample) -> dict[str, str]:
    return {"vid": sample.vid, "summary": sample.summary}
