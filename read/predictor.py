"""Moments, highlights and summaries of any video, by a bundle of adapted models.

    predictor = Predictor.from_bundle("my-bundle")
    video = predictor.encode("party.mp4")
    video.moments("the dog jumps over the fence")  # [(start, end, score), ...] in seconds, best first

Symbols: N clips of a video, d width of its features.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
import torch
from torch import nn

from read.bundle import Bundle, differences
from read.bundle.card import caution
from read.bundle.models import Models
from read.bundle.shapes import check_encoder
from read.bundle.vocabulary import unknown_words
from read.data import Question, Sample
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.program import existing
from read.errors import InputError
from read.files import sha256_of
from read.grounding.inference import predict
from read.grounding.windows import WindowSettings
from read.plugins import suggest
from read.video_features import FeatureCache, JoinedFeatures, OnProgress, features_of

BATCH_BYTES = 2**29  # of frames that are encoded at once


class Moment(NamedTuple):
    """A part of a video, in seconds, and how well it fits the query."""

    start: float
    end: float
    score: float


class Answer(NamedTuple):
    """What one forward pass says of a query: moments, best first, and a score for each of the N clips."""

    query: str
    moments: list[Moment]
    saliency: list[float]


class Predictor:
    """The models of a bundle, loaded when first asked for. Threads may share one; they take turns.

    Args:
        bundle: checked.
        extractor: with the settings and weights that the models were trained behind.
        device: where all runs.
        cache_dir: folder in which features of videos are kept beyond the process; None: nowhere.

    Attributes:
        adapters: names of the adapters.
        adapter: the name chosen last.
        tasks: what the bundle can do: "grounding", "summarization".
        info: the bundle's card, as a dict.
        words: that the text encoder has learned from, where it was trained beside the models; else None.
    """

    def __init__(
        self, bundle: Bundle, extractor: Extractor, device: str = "cpu", cache_dir: str | Path | None = None
    ) -> None:
        self.bundle, self.extractor, self.device = bundle, extractor, device
        self.adapters, self.tasks, self.info = bundle.names, bundle.tasks, bundle.config["card"]
        self.adapter = self.adapters[0]
        words = self.info.get("words")
        self.words = None if words is None else frozenset(words)
        self._models = {task: Models(bundle, task, device) for task in self.tasks}
        self._cache = FeatureCache(bundle.features, cache_dir)
        self._encoding, self._predicting = threading.Lock(), threading.RLock()

    @classmethod
    def from_bundle(
        cls,
        folder: str | Path | Bundle,
        device: str = "auto",
        adapter: str | None = None,
        *,
        encoders: str | Path | None = None,
        cache_dir: str | Path | None = None,
    ) -> Self:
        """Load a bundle.

        Args:
            folder: made by `read-adapters export` or `read.bundle.export`; where there is none, a place on the Hugging
                Face hub, `owner/name` or `owner/name@revision`; or one that was opened.
            device: "auto" is a GPU where there is one.
            adapter: which one to use; by default the bundle's first.
            encoders: folder with the encoders' weights, where the bundle has none: one of its name for each.
            cache_dir: folder in which features of videos are kept beyond the process.

        Raises:
            InputError: the bundle is damaged, its encoders' weights are missing or not those of training, or there is
                no such adapter or device.
        """
        bundle, device = folder if isinstance(folder, Bundle) else Bundle.open(folder), _device(device)
        wanted = bundle.features
        weights = bundle.weights(encoders)
        for name in bundle.encoders:
            check_encoder(name, weights / name)
        normalise = wanted.get("normalise", True)
        settings = ExtractorSettings(wanted["fps"], wanted["clip_len"], _batch_size(wanted), normalise=normalise)
        extractor = Extractor(settings, weights, device, bundle.encoders)
        if found := differences(extractor.spec, wanted):
            raise InputError(f"{weights}: not the encoders that the models were trained behind: {'; '.join(found)}")
        predictor = cls(bundle, extractor, device, cache_dir)
        if adapter is not None:
            predictor.use(adapter)
        return predictor

    def use(self, name: str) -> Self:
        """Switch to an adapter, for every task that has one of this name; nothing is loaded twice.

        Raises:
            InputError: there is none.
        """
        if name not in self.adapters:
            raise InputError(f"the bundle has no adapter {name!r}{suggest(name, self.adapters)}")
        self.adapter = name
        return self

    def adapter_for(self, task: str, adapter: str | None = None) -> str:
        """The adapter that a task uses: the one asked for, else the one chosen, else the task's first.

        Raises:
            InputError: the bundle has no such adapter for the task, or does not do it at all.
        """
        known = self.bundle.adapters(task)
        if not known:
            raise InputError(f"{self.bundle.folder}: holds no model for {task}, only for {', '.join(self.tasks)}")
        if adapter is None:
            chosen = self.adapter  # once: another thread may switch meanwhile
            return chosen if chosen in known else next(iter(known))
        if adapter not in known:
            raise InputError(f"for {task} the bundle has no adapter {adapter!r}{suggest(adapter, known)}")
        return adapter

    def threshold(self, adapter: str | None = None) -> float | None:
        """The score from which on a moment is worth showing, as chosen on validation videos; None: any is.

        Where all of a query's moments are below it, the answer is that it is not in the video.
        """
        name = self.adapter_for("grounding", adapter)
        return self.bundle.adapters("grounding")[name].get("threshold")

    def caution(self, adapter: str | None = None) -> str:
        """What the bar of `threshold` rests on, where that is few right answers or few videos; else empty."""
        cards = self.info["tasks"].get("grounding", {}).get("adapters", {})
        return caution(cards.get(self.adapter_for("grounding", adapter), {}).get("confidence"))

    def unknown_words(self, query: str) -> list[str]:
        """The words of a query that no text held from which the text encoder learned: they say nothing to it.

        Only where it was trained beside the models, on a small domain; encoders of the public know too much to list.
        """
        return unknown_words(query, self.words)

    def encode(self, path: str | Path, progress: OnProgress | None = None) -> "EncodedVideo":
        """Features of a video, once: they are kept by the file's content. One video is encoded at a time.

        Args:
            path: any file that ffmpeg reads, from a fraction of a second to hours; frames are streamed.
            progress: called after each batch with the seconds that are done and those that the file says it has, None
                where it does not. An exception raised in it ends the encoding.

        Raises:
            InputError: the file is missing or cannot be decoded; the message says why.
        """
        path = existing(path)
        digest = sha256_of(path)
        with self._encoding:
            features = self._cache.get(digest)
            if features is None:
                features = features_of(self.extractor, path, self.bundle.features["encoders"], progress)
                self._cache.put(digest, features)
        if progress:
            progress(features.seconds, features.seconds)
        return EncodedVideo(self, path, features)

    def ground(self, video: "EncodedVideo", queries: list[str], adapter: str | None) -> list[Answer]:
        """What `EncodedVideo.answer` gives."""
        name = self.adapter_for("grounding", adapter)
        settings = WindowSettings(**self.bundle.adapters("grounding")[name].get("predict", {}))
        with self._predicting:
            return answers_of(self._models["grounding"].get(name), self.extractor, video, queries, settings)

    def _summarize(self, video: "EncodedVideo", transcript: str, adapter: str | None) -> str:
        from read.summarization.summarize import longest_transcript, summarize, unlabelled_sample

        name = self.adapter_for("summarization", adapter)
        models, settings = self._models["summarization"], self.bundle.adapters("summarization")[name].get("predict", {})
        with self._predicting:
            model = models.get(name)
            sample = unlabelled_sample(
                video.path.stem, video.features.clips, transcript, models.tokenizer, longest_transcript(model)
            )
            return summarize(model, models.tokenizer, [sample], **settings)[0]["summary"]


class EncodedVideo:
    """An encoded video: ask as often as you like, it is not decoded again.

    Attributes:
        path: the file.
        features: as models read them.
        duration: seconds, as decoded.
        clip_len: seconds per clip.
        told: what there is to say of its sound, where an encoder hears, as that there is none.
    """

    def __init__(self, predictor: Predictor, path: Path, features: JoinedFeatures) -> None:
        self.predictor, self.path, self.features = predictor, path, features
        self.told = features.told
        self.duration, self.clip_len = features.seconds, float(predictor.extractor.settings.clip_len)

    def answer(self, queries: Sequence[str], adapter: str | None = None) -> list[Answer]:
        """Moments and saliency of each query, all from one batch.

        Args:
            queries: sentences.
            adapter: by default the predictor's.

        Raises:
            InputError: a query is empty, or the bundle has no such adapter or no model for grounding.
        """
        queries = [queries] if isinstance(queries, str) else list(queries)
        return self.predictor.ground(self, queries, adapter) if queries else []

    @overload
    def moments(self, query: str, adapter: str | None = None, *, confident: bool = False) -> list[Moment]: ...
    @overload
    def moments(
        self, query: Sequence[str], adapter: str | None = None, *, confident: bool = False
    ) -> list[list[Moment]]: ...
    def moments(self, query, adapter=None, *, confident=False):
        """At most ten (start, end, score), in seconds, best first; for several queries a list of such lists.

        Args:
            query: a sentence, or several for one batch.
            adapter: by default the predictor's.
            confident: leave out moments whose score is below `Predictor.threshold`, the bar chosen on validation
                videos; the list is empty where the query is not in the video. By default all are there, and
                `score >= threshold` marks them.

        Raises:
            InputError: as `answer`.
        """
        adapter = self.predictor.adapter_for("grounding", adapter)  # one for bar and answers, whoever switches
        bar = self.predictor.threshold(adapter) if confident else None
        found = [
            [moment for moment in answer.moments if bar is None or moment.score >= bar]
            for answer in self.answer(query, adapter)
        ]
        return found[0] if isinstance(query, str) else found

    @overload
    def saliency(self, query: str, adapter: str | None = None) -> list[float]: ...
    @overload
    def saliency(self, query: Sequence[str], adapter: str | None = None) -> list[list[float]]: ...
    def saliency(self, query, adapter=None):
        """How much each clip of `clip_len` seconds is a highlight of the query; for several queries a list of such.

        Only the order means something. Raises InputError as `answer`.
        """
        found = [answer.saliency for answer in self.answer(query, adapter)]
        return found[0] if isinstance(query, str) else found

    def summary(self, transcript: str = "", adapter: str | None = None) -> str:
        """A short text about the video and what is said in it.

        Args:
            transcript: what is said; a long one loses its end.
            adapter: by default the predictor's.

        Raises:
            InputError: the bundle has no such adapter or no model for summarization.
        """
        return self.predictor._summarize(self, transcript, adapter)


def answers_of(
    model: nn.Module, extractor: Extractor, video: EncodedVideo, queries: list[str], settings: WindowSettings
) -> list[Answer]:
    """What a grounding model says of each query, of features and words as the stages have them.

    Raises:
        InputError: a query is empty.
    """
    if empty := [number for number, query in enumerate(queries, 1) if not query.strip()]:
        raise InputError(f"query {empty[0]} of {len(queries)} is empty; a few words are due")
    normalise = _unit if extractor.settings.normalise else torch.from_numpy
    texts, sentences = extractor.read(queries)
    samples = [
        Sample(
            video.features.clips,
            normalise(texts[number]),
            Question(number, query, video.path.stem, video.duration),
            video.clip_len,
            embedding=None if sentences is None else _unit(sentences[number]),
        )
        for number, query in enumerate(queries)
    ]
    return [
        Answer(row["query"], [Moment(*window) for window in row["pred_relevant_windows"]], row["pred_saliency_scores"])
        for row in predict(model, samples, settings)
    ]


def _unit(rows: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1)


def _batch_size(features: dict[str, Any]) -> int:
    """Clips that are encoded at once: as in training, fewer where their frames would fill the memory."""
    frame = 3 * 4 * sum(view["size"] ** 2 for view in features.get("views", {}).values())  # bytes, as float32
    clip = max(1, frame) * features["fps"] * features["clip_len"]
    return max(1, min(ExtractorSettings.batch_size, int(BATCH_BYTES / clip)))


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r}: {str(error).splitlines()[0]}; take auto or cpu") from None
    return name
