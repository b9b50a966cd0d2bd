"""Training of the small encoders on labelled segments of video, for a machine that has no public weights.

They learn in seconds what the public ones bring along: CLIP which words go with a picture, SlowFast how it moves.

Symbols: K segments, F frames in all of them, T frames in a clip, S pixels a side, B segments in a batch.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import trange

from read.encoders.frames import read_clips
from read.errors import InputError

if TYPE_CHECKING:
    from read.encoders.kinds.clip import Clip
    from read.encoders.kinds.slowfast import SlowFast


@dataclass(frozen=True)
class LabelledSegment:
    """A stretch of a video, in seconds, that shows one thing: a sentence about it, and the name of its motion."""

    video: Path
    start: float
    end: float
    text: str
    label: str


@dataclass(frozen=True)
class SegmentFootage:
    """The frames of segments, one after the other.

    Attributes:
        segments: K of them.
        frames: uint8 (F, S, S, 3).
        first: (K,), where each segment begins in `frames`.
        count: (K,), its number of frames.
    """

    segments: list[LabelledSegment]
    frames: Tensor
    first: Tensor
    count: Tensor

    def sample(self, batch: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Random segments (B,) and in each a random run of `length` frames (B, length, S, S, 3).

        A segment that is too short goes on with its last frame.
        """
        chosen = torch.randint(len(self.segments), (batch,))
        room = (self.count[chosen] - length).clamp(min=0)
        start = (torch.rand(batch) * (room + 1)).long()
        within = torch.minimum(start[:, None] + torch.arange(length), self.count[chosen, None] - 1)
        return chosen, self.frames[self.first[chosen, None] + within].to(device)


def load_footage(segments: Iterable[LabelledSegment], fps: float, size: int) -> SegmentFootage:
    """Decode the segments; each video once.

    Memory: 3 * size^2 bytes a frame.

    Raises:
        InputError: there are none, one lies outside its video, or a video cannot be read.
    """
    segments = sorted(segments, key=lambda segment: (str(segment.video), segment.start))
    if not segments:
        raise InputError("no labelled segments to train the small encoders on")
    bounds = [(round(segment.start * fps), round(segment.end * fps)) for segment in segments]
    count = torch.tensor([end - start for start, end in bounds])
    frames = np.empty((int(count.clamp(min=0).sum()), size, size, 3), np.uint8)
    filled = 0
    for path, group in groupby(zip(segments, bounds, strict=True), key=lambda pair: pair[0].video):
        video = np.concatenate([clip[:real] for clip, real in read_clips(path, fps, 1.0, size)])
        for segment, (start, end) in group:
            if not 0 <= start < end <= len(video):
                seconds = f"{segment.start} to {segment.end} s"
                raise InputError(f"{path}: no frames from {seconds}; the video lasts {len(video) / fps} s")
            frames[filled : filled + end - start] = video[start:end]
            filled += end - start
    return SegmentFootage(segments, torch.from_numpy(frames), count.cumsum(0) - count, count)


def train_clip(
    footage: SegmentFootage,
    *,
    steps: int = 250,
    batch: int = 128,
    learning_rate: float = 3e-3,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> "Clip":
    """A small `Clip`, by contrast of frames with the sentences of their segments.

    Sentences repeat, so each occurs once in a batch and has all of its frames as positives (Khosla et al. 2020, L_out).

    Raises:
        InputError: the loss is not a number.
    """
    from read.encoders.kinds.clip import Clip, new_tiny_clip

    torch.manual_seed(seed)
    clip = new_tiny_clip(device)
    sentences, sentence_of = _numbered([segment.text for segment in footage.segments])
    tokens = clip.tokens(sentences)

    def loss() -> Tensor:
        chosen, frames = footage.sample(batch, 1, clip.device)
        present, target = sentence_of[chosen].unique(return_inverse=True)
        target = target.to(clip.device)
        images = clip.model.encode_image(clip.normalise(recolour(frames)[:, 0]), normalize=True)
        texts = clip.model.encode_text(tokens[present.to(clip.device)], normalize=True)
        similarity = clip.model.logit_scale.exp().clamp(max=100) * images @ texts.T
        to_image = similarity.log_softmax(0).gather(1, target[:, None])
        return (cross_entropy(similarity, target) - to_image.mean()) / 2

    _minimise(loss, clip.model, steps, learning_rate, "small CLIP")
    return Clip(clip.model, clip.config, device)


def train_slowfast(
    footage: SegmentFootage,
    clip_frames: int,
    *,
    steps: int = 150,
    batch: int = 32,
    learning_rate: float = 8e-3,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> "SlowFast":
    """A small `SlowFast`, by classification of the segments' labels from runs of `clip_frames` frames.

    Raises:
        InputError: the loss is not a number.
    """
    from read.encoders.kinds.slowfast import TINY, SlowFast

    torch.manual_seed(seed)
    slowfast = SlowFast.create(TINY, device)
    names, label_of = _numbered([segment.label for segment in footage.segments])
    classifier = nn.Linear(slowfast.dim, len(names), device=device)

    def loss() -> Tensor:
        chosen, frames = footage.sample(batch, clip_frames, slowfast.device)
        return cross_entropy(classifier(slowfast.features(recolour(frames))), label_of[chosen].to(slowfast.device))

    _minimise(loss, nn.ModuleList([slowfast.network, classifier]), steps, learning_rate, "small SlowFast")
    return SlowFast(slowfast.network, slowfast.config, device)


def recolour(frames: Tensor) -> Tensor:
    """Give each clip, uint8 (B, T, S, S, 3), its own random gain and shift per colour channel: float, 0 to 255.

    Without it the encoders know a thing by its colour, and fail on tinted video (0.2 instead of 0.9 of frames right).
    """
    shape = (len(frames), 1, 1, 1, 3)
    gain = torch.empty(shape, device=frames.device).uniform_(0.5, 1.5)
    shift = torch.empty(shape, device=frames.device).uniform_(-32, 32)
    return (frames * gain).add_(shift).clamp_(0, 255)


def _numbered(values: list[str]) -> tuple[list[str], Tensor]:
    """The different values in order, and each value's number."""
    different = sorted(set(values))
    number = {value: index for index, value in enumerate(different)}
    return different, torch.tensor([number[value] for value in values])


def _minimise(loss: Callable[[], Tensor], model: nn.Module, steps: int, learning_rate: float, name: str) -> None:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.2)
    for step in (progress := trange(steps, desc=name, mininterval=1)):
        optimizer.zero_grad()
        value = loss()
        if not math.isfinite(current := value.item()):
            raise InputError(f"{name}: the loss is {current} at step {step}; a lower learning rate helps")
        value.backward()
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{current:.3f}", refresh=False)
    model.eval()
