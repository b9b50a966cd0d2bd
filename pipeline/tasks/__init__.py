"""What the stages from the split on do differently for each task: one module a task, with its `WORK`."""

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from torch import nn

from pipeline.plugins import TASKS

Rows = list[dict[str, Any]]
Baselines = dict[str, dict[str, Any]]  # row -> its `scores` and `by_kind`


class Aligner(Protocol):
    """What is asked of a `read.alignment.Alignment`, which pretraining does not depend on."""

    mass: float

    def plans(self, model: nn.Module) -> list[np.ndarray]:
        """The plans of the model's last forward."""


class Work(Protocol):
    """A task as the stages see it. What a sample is only the task knows; all have the id of their video as `vid`."""

    def __init__(self, settings: SimpleNamespace) -> None:
        """`settings`: what the job was given of params.yaml."""

    def samples(self, dataset: str, videos: Collection[str] | None = None) -> tuple[list[Any], dict[str, Any]]:
        """Samples of some videos, or of all that have features, and what made the features."""

    def source(self) -> tuple[nn.Module, list[Any], dict[str, Any] | None, int]:
        """A model to pretrain, samples and features' maker as of `samples`, and the steps that it is to train.

        What others trained on is not told: the maker is None of a published model.
        """

    def settle(self, model: nn.Module, train: Sequence[Any], val: Sequence[Any], own: bool) -> dict[str, Any]:
        """Fit in closed form, and choose on the source's validation side, what needs no step; say what was chosen.

        `own`: the source is the dataset itself, of which nothing is looked at. `warnings` are sentences about
        predictions there.
        """

    def save(self, model: nn.Module) -> None:
        """Write the pretrained model, and what belongs to it, to its place."""

    def backbone(self, labelled: Sequence[Any] = ()) -> nn.Module:
        """The pretrained model; with samples to train on, what is fitted in closed form is fitted to them too."""

    def task(self, dataset: str) -> Any:
        """What is learned on a dataset, a `read.train.Task`."""

    def pretraining(self, model: nn.Module, train: Sequence[Any]) -> Any:
        """What is learned on the source, a `read.train.Task`; the model's config is told what it is trained on."""

    def inference_settings(self, model: nn.Module, val: Sequence[Any]) -> dict[str, Any]:
        """For those who predict later: settings as `predict`, and what was chosen on the validation side."""

    def predict(self, model: nn.Module, samples: Sequence[Any]) -> Rows:
        """A row for every sample."""

    def scores(self, rows: Rows, samples: Sequence[Any]) -> dict[str, Any]:
        """`scores` of all rows, `by_kind` where samples are of kinds, and `warnings`: sentences about the rows."""

    def baselines(self, samples: Sequence[Any]) -> Baselines:
        """Rows that frame a table and train nothing."""

    def linear_map(self, labelled: Sequence[Any]) -> nn.Module | None:
        """A model that is fitted to labelled samples in closed form, and to nothing else; None where there is none."""

    def attention_maps(
        self, model: nn.Module, samples: Sequence[Any], alignment: Aligner | None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Which clips belong to which words: an array a sample, and what its picture needs to know; none for most."""


def print_warnings(found: dict[str, Any]) -> None:
    """Print what stands among `warnings`."""
    for warning in found["warnings"]:
        print(f"warning: {warning}")


def work_on(task: str, settings: SimpleNamespace) -> Work:
    """What is done for a task that params.yaml may name."""
    return TASKS.load(task)(settings)
