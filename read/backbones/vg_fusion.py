"""How a text encoder sees a video: steps are projected, may pass through transformer layers, and words attend to them.

    V = layers(LN(video) W_v + b_v)                    (B, N, d), with no layers: the projection
    A = softmax_N(q(LN(Z)) k(V)' / sqrt(width))        (B, M, N), over the steps; padded ones have weight 0
    I = A v(V)                                         (B, M, d)
    F = sigmoid(W_f [I; LN(Z)] + b_f) * I              the forget gate; F = I without it
    Z <- Z + F W_o                                     W_o starts at zero, and has no bias

Source: Yu et al., "Vision Guided Generative Pre-trained Language Models for Multimodal Abstractive Summarization",
EMNLP 2021. The code released with it takes the softmax over the words and lets padded steps in. Words are normalised
before they attend, since in pre-norm models (T5, PEGASUS) their length grows from layer to layer.

Symbols: B samples, N video steps, M words, d width of the text model, Z (B, M, d) words after one of its layers.
Masks are True at real steps.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from read.backbones.base import Segment
from read.backbones.blocks import EncoderLayer, input_projection, linear_layers, sine_positions
from read.errors import InputError

FUSIONS = ("dot", "multihead")


@dataclass(frozen=True)
class VisualGuidanceConfig:
    """How a video guides a text model.

    Attributes:
        video_dim: width of the video features.
        layer: the encoder layer after which words attend to the video, from 0, or from the end, where -1 is the last.
        fusion: `dot`, words and steps are compared as they are; `multihead`, through projections, by `heads` heads.
        gate: with the forget gate.
        visual_layers: transformer layers over the steps, 0 for none; without them a video is a set of steps, unordered.
        heads: of the multi-head fusion and of the visual layers.
        dropout: on features and attention weights and in the visual layers.
        max_steps: of a longer video so many steps are read, evenly spaced.

    Raises:
        InputError: naming all fields at fault.
    """

    video_dim: int
    layer: int = -1
    fusion: str = "multihead"
    gate: bool = True
    visual_layers: int = 0
    heads: int = 8
    dropout: float = 0.1
    max_steps: int = 256

    def __post_init__(self) -> None:
        if faults := list(self._faults()):
            raise InputError("VisualGuidanceConfig: " + "; ".join(faults))

    def _faults(self) -> Iterator[str]:
        for name, least in (("video_dim", 1), ("visual_layers", 0), ("heads", 1), ("max_steps", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                yield f"{name} is {value!r}, not a whole number from {least}"
        if type(self.layer) is not int:
            yield f"layer is {self.layer!r}, not a whole number"
        if self.fusion not in FUSIONS:
            yield f"fusion is {self.fusion!r}, not one of {', '.join(FUSIONS)}"
        if type(self.gate) is not bool:
            yield f"gate is {self.gate!r}, not true or false"
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            yield f"dropout is {self.dropout!r}, not a number in [0, 1)"


@dataclass
class Memory:
    """A batch of videos as the words see it.

    Attributes:
        video: V (B, S, d), of S = min(N, max_steps) steps.
        mask: (B, S).
        steps: (B, S) places of these among the N steps given; None: they are all, in place.
        given: N.
        weights: A (B, M, S), the mean over heads, once the words have attended.
    """

    video: Tensor
    mask: Tensor
    steps: Tensor | None
    given: int
    weights: Tensor | None = None

    def attention(self) -> Tensor | None:
        """A (B, M, N) over the steps given: zero at those that were padded or not read."""
        if self.weights is None or self.steps is None:
            return self.weights
        zeros = self.weights.new_zeros(*self.weights.shape[:2], self.given)
        return zeros.scatter(2, self.steps[:, None].expand_as(self.weights), self.weights)


class VideoProjection(nn.Module):
    """The input projection of the video; adapters find it as that of a backbone, and learn which steps are real."""

    def __init__(self, d: int, config: VisualGuidanceConfig) -> None:
        super().__init__()
        self.layers = input_projection(config.video_dim, d, 1, config.dropout)

    def feed_forward_blocks(self) -> dict[str, nn.Module]:
        """None."""
        return {}

    def projection_blocks(self) -> dict[str, nn.Module]:
        """`layers.0.net.1`."""
        return linear_layers(self, "layers")

    def segments(self, mask: Tensor) -> list[Segment]:
        """All tokens are video."""
        return [Segment("video", 0, mask.shape[1], mask)]

    def forward(self, video: Tensor, mask: Tensor) -> Tensor:
        """(B, N, video_dim), mask (B, N) -> (B, N, d)."""
        return self.layers(video)


class VisualEncoder(nn.Module):
    """Transformer layers over the video steps; adapters find their sub-blocks as those of a backbone."""

    def __init__(self, d: int, config: VisualGuidanceConfig) -> None:
        super().__init__()
        rate = config.dropout
        self.layers = nn.ModuleList(
            EncoderLayer(d, config.heads, 4 * d, rate, nn.GELU(), rate, nn.Dropout(rate))
            for _ in range(config.visual_layers)
        )

    def feed_forward_blocks(self) -> dict[str, nn.Module]:
        """`layers.N.feed_forward`; weights stay with the layer."""
        return {f"layers.{i}.feed_forward": layer.feed_forward for i, layer in enumerate(self.layers)}

    def attention_blocks(self) -> dict[str, nn.Module]:
        """`layers.N.attention`; weights stay with the layer."""
        return {f"layers.{i}.attention": layer.attention for i, layer in enumerate(self.layers)}

    def segments(self, mask: Tensor) -> list[Segment]:
        """All tokens are video."""
        return [Segment("video", 0, mask.shape[1], mask)]

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """(B, N, d), mask (B, N) -> (B, N, d)."""
        position = sine_positions(mask, steps.shape[2]).to(steps.dtype)
        attended = mask | ~mask.any(1, keepdim=True)  # over no step, some of torch's attention kernels give NaN
        for layer in self.layers:
            steps = layer(steps, position, attended)
        return steps


class Fusion(nn.Module):
    """Words attend to the video. Untrained, or for a sample without real steps, it adds exactly zero."""

    def __init__(self, d: int, config: VisualGuidanceConfig) -> None:
        super().__init__()
        multihead = config.fusion == "multihead"
        self.heads = config.heads if multihead else 1
        self.norm = nn.LayerNorm(d)
        self.query, self.key, self.value = (nn.Linear(d, d) if multihead else nn.Identity() for _ in range(3))
        self.gate = nn.Linear(2 * d, d) if config.gate else None
        self.out = nn.Linear(d, d, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.out.weight)

    def forward(self, words: Tensor, video: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Z (B, M, d), V (B, N, d), mask (B, N) -> what is added to Z (B, M, d), and A (B, M, N), the mean over heads.

        Every row of A sums to 1, of a sample without real steps to 0.
        """
        words = self.norm(words)
        query, key, value = self._split(self.query(words)), self._split(self.key(video)), self._split(self.value(video))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        padded = ~mask[:, None, None]
        weights = scores.masked_fill(padded, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(padded, 0)
        image = (self.dropout(weights).to(value.dtype) @ value).transpose(1, 2).flatten(2)
        if self.gate is not None:
            image = self.gate(torch.cat((image, words.to(image.dtype)), dim=-1)).sigmoid() * image
        return self.out(image), weights.mean(1)

    def _split(self, tokens: Tensor) -> Tensor:
        """(B, T, d) -> (B, heads, T, d / heads)."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class _Watched(threading.local):
    """What the words of one thread see: a model serves several at a time."""

    memory: Memory | None = None

    def __reduce__(self) -> tuple[type, tuple]:
        return _Watched, ()


class Guide(nn.Module):
    """All that a text model lacks to see a video; `add` is a forward hook of the encoder layer that it is to guide."""

    def __init__(self, d: int, config: VisualGuidanceConfig) -> None:
        super().__init__()
        many = config.fusion == "multihead" or config.visual_layers
        if many and (d % config.heads or d % 2):
            raise InputError(
                f"VisualGuidanceConfig: heads {config.heads}: the width {d} must be even and a multiple of it"
            )
        self.video_dim, self.max_steps = config.video_dim, config.max_steps
        self.project = VideoProjection(d, config)
        self.visual = VisualEncoder(d, config)
        self.fusion = Fusion(d, config)
        self.watched = _Watched()

    @contextmanager
    def watching(self, video: Tensor | None, mask: Tensor | None) -> Iterator[Memory | None]:
        """While the block runs, words attend to `video` (B, N, video_dim), mask (B, N); None or N = 0: to nothing."""
        self.watched.memory = None if video is None or 0 in video.shape[1:2] else self.read(video, mask)
        try:
            yield self.watched.memory
        finally:
            self.watched.memory = None

    def read(self, video: Tensor, mask: Tensor | None) -> Memory:
        """The memory of `video` (B, N, video_dim) with its mask (B, N); None: all steps are real.

        Raises:
            InputError: a shape does not fit.
        """
        if video.dim() != 3 or video.shape[2] != self.video_dim:
            raise InputError(f"video: its shape is {tuple(video.shape)}, but must be (B, N, {self.video_dim})")
        mask = video.new_ones(video.shape[:2]) if mask is None else mask
        if mask.shape != video.shape[:2]:
            raise InputError(f"video_mask: its shape is {tuple(mask.shape)}, but must be {tuple(video.shape[:2])}")
        mask, steps, given = mask.to(video.device, torch.bool), None, video.shape[1]
        if given > self.max_steps:
            steps, mask = evenly_spaced(mask, self.max_steps)
            video = video.gather(1, steps[..., None].expand(-1, -1, video.shape[2]))
        video = video.masked_fill(~mask[..., None], 0).to(self.fusion.out.weight.dtype)
        return Memory(self.visual(self.project(video, mask), mask), mask, steps, given)

    def add(self, layer: nn.Module, args: tuple, output: Any) -> Any:
        """Forward hook: Z, or the first of several outputs, with what it sees."""
        if self.watched.memory is None:
            return None
        words, *others = output if isinstance(output, tuple) else (output,)
        if len(words) != len(self.watched.memory.video):
            raise InputError(
                f"video: is of {len(self.watched.memory.video)} samples, but the words are of {len(words)}"
            )
        seen, self.watched.memory.weights = self.fusion(words, self.watched.memory.video, self.watched.memory.mask)
        words = words + seen.to(words.dtype)
        return (words, *others) if isinstance(output, tuple) else words


def evenly_spaced(mask: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Which steps of a long video are read: the middle ones of `most` equal parts of a sample's real steps.

    A sample with no more than `most` real steps keeps them all, in their order.

    Args:
        mask: (B, N), N > most.
        most: S, steps to keep.

    Returns:
        The places (B, S) of the steps, and their mask (B, S).
    """
    order = torch.argsort(~mask, dim=1, stable=True)  # real steps first, in their order
    real = mask.sum(1, keepdim=True)
    index = torch.arange(most, device=mask.device)[None]
    place = torch.where(real > most, (2 * index + 1) * real // (2 * most), index)
    return order.gather(1, place), index < real
