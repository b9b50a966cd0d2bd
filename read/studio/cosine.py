"""Answers before anything was trained: by the cosine of an encoder that has one space for pictures and sentences."""

import threading
from collections.abc import Sequence
from typing import Any

from read.backbones.grounding.joint import JointBackbone, JointConfig
from read.encoders.extractor import Extractor
from read.errors import InputError
from read.grounding.windows import WindowSettings
from read.plugins import suggest
from read.predictor import Answer, EncodedVideo, answers_of

COSINE = "cosine"  # what stands in the place of an adapter's name


class CosinePredictor:
    """As `read.predictor.Predictor` for grounding. Threads may share one; they take turns.

    Args:
        extractor: of one encoder, with a joint space.

    Raises:
        InputError: it has none.
    """

    def __init__(self, extractor: Extractor) -> None:
        if extractor.joint is None:
            raise InputError(f"encoders: {', '.join(extractor.encoders)} has no space of pictures and sentences")
        self.extractor = extractor
        reader: Any = extractor.reader
        config = JointConfig(reader.dim, reader.text_dim, joint_start=0, joint_dim=reader.dim)
        self._model = JointBackbone(config).to(extractor.device).eval()  # its map is zero until it is fitted
        self._predicting = threading.Lock()

    def threshold(self, adapter: str | None = None) -> None:
        """None: from which cosine on a moment is in a video has never been looked at."""

    def caution(self, adapter: str | None = None) -> str:
        """Nothing: there is no bar."""
        return ""

    def unknown_words(self, query: str) -> list[str]:
        """None: a public encoder knows too many words to list."""
        return []

    def ground(self, video: EncodedVideo, queries: Sequence[str], adapter: str | None) -> list[Answer]:
        """What `EncodedVideo.answer` gives. Raises InputError for an adapter, of which there is none."""
        if adapter not in (None, COSINE):
            raise InputError(
                f"nothing has been trained yet: there is no adapter {adapter!r}{suggest(adapter, [COSINE])}"
            )
        with self._predicting:
            return answers_of(self._model, self.extractor, video, [*queries], WindowSettings())
