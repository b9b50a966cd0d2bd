"""Forward calls of stacks: which of a layer's tokens are real, and which sequences they are.

Symbols: B samples, T tokens of a layer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from read.adapters.cells import State
from read.adapters.frames import Folded, Grid, Packed
from read.adapters.masks import numbered, real_tokens, tensors
from read.adapters.modalities import Told, compact
from read.adapters.recurrent_cache import States
from read.adapters.segments import Chains, TokenLayout, TokenSegment, among_each_other, lay_out
from read.adapters.sub_blocks import Place
from read.errors import InputError

if TYPE_CHECKING:
    from read.adapters.runtime import Adapters

MODALITIES = ("video", "text")
PACKED = "to a recurrence, samples that are packed into one row are one sequence: pad them in place of that"
Segments = Sequence[TokenSegment] | dict[str, Sequence[TokenSegment]] | None


@dataclass
class _Whole:
    """The one sequence of a layer."""

    modality: str
    start: int
    stop: int
    mask: Tensor | None


@dataclass(eq=False)
class Call:
    """One forward call of a stack.

    Attributes:
        segments: of all its layers, or by the prefix of the layers' names; None: one sequence.
        mask: of that one sequence, as `read.adapters.masks` reads it; None: all tokens are real.
        frames: how frames lie in it, where it is a video.
        size: (B, T) of what a model of words is given.
        windowed: the stack adds padding of its own.
        cache: of keys and values, where one is given.
        past: tokens that the cache holds.
        states: of the recurrences that go on from the cache; None: they start here.
        keep: the recurrences' states are wanted for a cache.
        sides: masks that were given by modality.
        adapters: of the model, or of the replica, whose call it is.
        told: what the tokens are in a video-language model; None: of one kind.
        untold: the module whose call would tell, where it is not running.
        packed: several samples stand in one row.
        unread: the stack's module and what its call was given, until it is read which tokens these are.
        new_states: of the recurrences, after this call.
    """

    segments: Segments = None
    mask: Any = None
    frames: Grid | Folded | Packed | None = None
    cache: Any = None
    past: int = 0
    states: States | None = None
    keep: bool = False
    sides: dict[str, Tensor | None] = field(default_factory=dict)
    adapters: "Adapters | None" = None
    told: Told | None = None
    untold: str | None = None
    packed: bool = False
    size: tuple[int, int] | None = None
    windowed: bool = False
    unread: tuple[Any, dict[str, Any]] | None = None
    new_states: States = field(default_factory=dict)
    # No mapping: a graph's lengths have no hash.
    layouts: list[tuple[tuple, TokenLayout | Chains]] = field(default_factory=list)

    def sequences(self, place: Place, tokens: Tensor) -> Sequence[TokenSegment]:
        """The sequences among the tokens (B, T, ...) of the layer that `place` is in."""
        segments = self.segments
        if isinstance(segments, dict):
            prefixes = [prefix for prefix in segments if f"{place.name}.".startswith(f"{prefix}.")]
            if not prefixes:
                told = ", ".join(segments)
                raise InputError(f"{place.name}: the model's segments tell of the tokens in {told} only")
            segments = segments[max(prefixes, key=len)]
        if segments is not None:
            return segments
        batch, length = tokens.shape[:2]
        mask = self._real(place, batch, length)
        return (_Whole(place.modality, 0, length, mask),)

    def layout(self, place: Place, tokens: Tensor) -> TokenLayout | Chains | None:
        """As `sequences`, laid out for a mixer; None where they are one, without padding."""
        batch, length = tokens.shape[:2]
        if self.untold is not None:
            raise InputError(
                f"{place.name} runs outside the forward call of {self.untold or 'the model'}, whose token ids alone "
                "tell frames from words; call that"
            )
        if self.packed:
            raise InputError(f"{place.name}: position_ids or cu_seqlens say that a row is several samples; {PACKED}")
        if self.told is not None:
            return self._chained(self.told, place, batch, length)
        if (framed := self._framed(place, batch, length, tokens.device)) is not None:
            return framed
        if self.segments is None and self.mask is None and not self._filled(length):
            return None
        segments = None if self.segments is None else self.sequences(place, tokens)
        key = (*((part.modality, part.start, part.stop) for part in segments or ()), batch, length)
        if (known := self._laid_out(key)) is not None:
            return known
        layout = self._in_rows(place, batch, length) or lay_out(
            segments or self.sequences(place, tokens), batch, length, tokens.device
        )
        self.layouts.append((key, layout))
        return layout

    def _in_rows(self, place: Place, batch: int, length: int) -> TokenLayout | Chains | None:
        """Of several sequences in a row, as pictures of many sizes are given; None where each row is one."""
        if self.segments is not None or self.mask is None or (real := self._real(place, batch, length)) is None:
            return None
        if (numbers := numbered(self.mask, real)) is None:
            return None
        if place.causal:
            raise InputError(f"{place.name}: tokens of a row do not attend to those before them; {PACKED}")
        counts = numbers[:, -1].expand(batch) + 1
        chains = numbers + (counts.cumsum(0) - counts)[:, None]
        return among_each_other(chains, real)

    def _laid_out(self, key: tuple) -> TokenLayout | Chains | None:
        return next((layout for known, layout in self.layouts if known == key), None)

    def arranged(self, place: Place, tokens: Tensor) -> Tensor:
        """Tokens (B, T, d), of those that a layer has put in one row. Raises InputError for (T, B, d)."""
        if tokens.dim() == 2 and isinstance(self.frames, Packed):
            return tokens[None]
        if self.size is None:
            return tokens
        if tokens.dim() == 2 and len(tokens) == self.size[0] * self.size[1]:
            return tokens.view(*self.size, -1)
        if torch.compiler.is_compiling() or not place.batch_first:
            return tokens  # what follows would bind lengths that are to stay open
        if tuple(tokens.shape[:2]) == self.size[::-1] != self.size:
            raise InputError(f"{place.name}: its tokens are (T, B, d), {tuple(tokens.shape)}, and not (B, T, d)")
        return tokens

    def _framed(self, place: Place, batch: int, length: int, device: torch.device) -> TokenLayout | Chains | None:
        if self.frames is None:
            return None
        frames = self.frames.at(place.name)
        key = (frames.order, batch, length)
        if (known := self._laid_out(key)) is not None:
            return known
        if (layout := frames.lay_out(batch, length, device)) is not None:
            self.layouts.append((key, layout))
        return layout

    def _filled(self, length: int) -> bool:
        """Whether the stack has added padding on the right."""
        return self.windowed and self.size is not None and length > self.size[1]

    def _real(self, place: Place, batch: int, length: int) -> Tensor | None:
        mask, where = self.mask, f"{place.modality}, {place.name}"
        if not self._filled(length) or self.size is None:
            return real_tokens(mask, self.past, batch, length, where)
        mask = real_tokens(mask, self.past, *self.size, where)
        mask = torch.ones(self.size, dtype=torch.bool) if mask is None else mask
        return torch.nn.functional.pad(mask, (0, length - self.size[1]))

    def _chained(self, told: Told, place: Place, batch: int, length: int) -> TokenLayout | Chains:
        if told.chains.shape != (batch, length):
            raise InputError(
                f"{place.name}: its tokens are ({batch}, {length}, ...), but the token ids of the call, which tell "
                f"frames from words, are {tuple(told.chains.shape)}"
            )
        if (layout := self._laid_out((batch, length))) is None:
            layout = among_each_other(told.chains, self._real(place, batch, length))
            self.layouts.append(((batch, length), layout))
        return layout

    def sides_of(self, place: Place, tokens: Tensor) -> Iterable[tuple[str, Tensor, Tensor | None]]:
        """The tokens (B, T, r) at a place by modality, with their masks, for what is aligned."""
        if self.told is None:
            for part in self.sequences(place, tokens):
                yield part.modality, tokens[:, part.start : part.stop], part.mask
            return
        for modality, mask in zip(MODALITIES, (self.told.video, self.told.prompt), strict=True):
            if not mask.any(1).all():
                sample = int((~mask.any(1)).nonzero()[0])
                why = "; labels are -100 at what the model is not to write, the prompt" if modality == "text" else ""
                raise InputError(f"no states to align: sample {sample} of the batch has no {modality} tokens{why}")
            yield modality, *compact(tokens, mask)

    def state(self, key: tuple[str, str]) -> State | None:
        """What the recurrence at a place goes on from. Raises InputError where the cache does not hold it."""
        if self.states is None:
            return None
        if key not in self.states:
            raise InputError(
                f"{key[1]}: the cache was filled without adapter {key[0]!r}, whose recurrence cannot go on"
            )
        return self.states[key]

    def same(self, other: "Call") -> bool:
        """Whether recomputing a layer with `other` gives what it gave with this."""
        mine, theirs = list(self._masks()), list(other._masks())
        return len(mine) == len(theirs) and all(map(_same, mine, theirs)) and self.past == other.past

    def _masks(self) -> Iterable[Tensor | None]:
        yield from tensors(self.mask)
        yield None if self.told is None else self.told.chains
        for segments in self.segments.values() if isinstance(self.segments, dict) else [self.segments or ()]:
            yield from (segment.mask for segment in segments)

    def on(self, device: torch.device) -> bool:
        """Whether its adapters are on `device`."""
        # Not by `parameters()`: replicas have none.
        mine: Any = self.adapters or {}
        found = (layer.up.weight.device for layers in mine.values() for layer in layers.values())
        return next(found, device) == device


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    return first is second or (first is not None and second is not None and torch.equal(first, second))
