"""Grounding as a task that `read.train` can train: samples of `read.data`, losses of a `Backbone`, mAP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from read.adapters.wrapped import unwrap
from read.backbones.joint_space import JointSpace
from read.data import Annotation, Sample, collate, training_pieces
from read.data.lazy import Cache, Lazy
from read.grounding.inference import check, predict, run
from read.grounding.windows import WindowSettings
from read.metrics.protocol import get_protocol
from read.ranks import work_shared


@dataclass(frozen=True)
class Grounding:
    """A `read.train.Task`: find the moments that a sentence describes.

    Attributes:
        windows: how they are read off to validate.
        metric: the benchmark's, a name of `read.metrics.protocols`, whose `choice` is validated by.
        joiner: changes the batches that are trained on, as a `read.data.joined.Joiner` does; None: nobody does.
    """

    windows: WindowSettings = field(default_factory=WindowSettings)
    metric: str = "qvhighlights"
    joiner: Callable[[Sequence[Sample]], list[Sample]] | None = None

    def prepare(self, model: nn.Module, samples: Sequence[Sample]) -> list[Sample]:
        """Checked samples; of videos longer than the model's `max_clips`, the pieces `training_pieces`.

        Where a map was fitted to them, they get the `correction` of `read.backbones.joint_space`.
        """
        for sample in samples:
            check(sample)
        if isinstance(space := getattr(unwrap(model), "space", None), JointSpace):
            samples = corrected(samples, space)
        return [part for sample in samples for part in training_pieces(sample, model.config.max_clips)]

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """A batch of `read.data.collate`, of what the joiner makes of the samples where there is one."""
        samples = self.joiner(samples) if self.joiner else samples
        return collate(samples) | {"vids": [sample.vid for sample in samples]}

    def forward(self, model: nn.Module, batch: dict[str, Any]) -> Any:
        """The model's outputs."""
        return run(model, batch)

    def losses(self, model: nn.Module, outputs: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The model's own terms."""
        return model.losses(outputs, batch)

    def score(self, model: nn.Module, samples: Sequence[Sample]) -> float:
        """See `validation_score`."""
        return validation_score(model, samples, self.windows, self.metric)

    def score_videos(self, model: nn.Module, samples: Sequence[Sample]) -> dict[str, float]:
        """The metric's `choice` for each video's queries."""
        rows = work_shared(samples, lambda part: predict(model, part, self.windows))
        videos: dict[str, list[tuple[dict[str, Any], Annotation]]] = {}
        for row, sample in zip(rows, samples, strict=True):
            videos.setdefault(sample.vid, []).append((row, sample.annotation))
        choice, clip_len = get_protocol(self.metric).choice, samples[0].clip_len
        return {
            vid: choice([row for row, _ in pairs], [label for _, label in pairs], clip_len)
            for vid, pairs in videos.items()
        }


def corrected(samples: Sequence[Sample], space: JointSpace) -> list[Sample]:
    """Samples with the `correction` that their videos have, which is computed when it is read, if it is not kept."""
    cache, e = Cache(), len(space.video_mean)

    def read(sample: Sample) -> Tensor:
        return cache.get(sample.vid, lambda: cast(Tensor, space.correction(sample.vid, sample.video)))

    return [
        replace(sample, correction=Lazy((len(sample.clips), e), partial(read, sample)))
        if sample.vid in space.folds
        else sample
        for sample in samples
    ]


def validation_score(
    model: nn.Module, samples: Sequence[Sample], windows: WindowSettings, metric: str = "qvhighlights"
) -> float:
    """The number that chooses states and learning rates, in percent: see `read.metrics.protocol`."""
    rows = work_shared(samples, lambda part: predict(model, part, windows))
    return get_protocol(metric).choice(rows, [sample.annotation for sample in samples], samples[0].clip_len)
