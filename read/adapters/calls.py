"""Forward calls of stacks, thread by thread: which tokens are real, and what hooks on sub-blocks have to remember.

Hooks are bound methods of plain objects, so that a deep copy of a model has hooks of its own, and the keys of the
backbone's state dict stay as they were. What is of one call is held by the thread that makes it: one model serves many.
Symbols: B samples, T tokens of a layer.
"""

import inspect
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from read.adapters.cells import State
from read.adapters.families import WINDOWED, is_one_of
from read.adapters.frames import GRIDS, Grid, Packed, frames_of
from read.adapters.masks import begins_again, real_tokens, tensors
from read.adapters.modalities import Told, compact, tells, told
from read.adapters.recurrent_cache import States, cached_tokens, recall, remember
from read.adapters.segments import TokenLayout, TokenSegment, lay_out, lay_out_chains
from read.adapters.sub_blocks import Place
from read.adapters.surroundings import mask_argument
from read.errors import InputError

if TYPE_CHECKING:
    from read.adapters.runtime import Adapters

MODALITIES = ("video", "text")
WORDS = ("input_ids", "inputs_embeds")  # arguments of which each sample is a sequence of tokens
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
    frames: Grid | Packed | None = None
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
    layouts: list[tuple[tuple, TokenLayout]] = field(default_factory=list)  # no mapping: a graph's lengths have no hash

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

    def layout(self, place: Place, tokens: Tensor) -> TokenLayout | None:
        """As `sequences`, laid out for a mixer; None where they are one, without padding."""
        batch, length = tokens.shape[:2]
        if self.untold is not None:
            raise InputError(
                f"{place.name} runs outside the forward call of {self.untold or 'the model'}, whose token ids alone "
                "tell frames from words; call that"
            )
        if self.packed:
            raise InputError(
                f"{place.name}: position_ids begin again within a row and no mask is given; to a recurrence, samples "
                "that are packed into one row are one sequence: pad them in place of that"
            )
        if self.told is not None:
            return self._chained(self.told, place, batch, length)
        if (framed := self._framed(batch, length, tokens.device)) is not None:
            return framed
        if self.segments is None and self.mask is None and not self._filled(length):
            return None
        segments = None if self.segments is None else self.sequences(place, tokens)
        key = (*((part.modality, part.start, part.stop) for part in segments or ()), batch, length)
        if (known := self._laid_out(key)) is not None:
            return known
        layout = lay_out(segments or self.sequences(place, tokens), batch, length, tokens.device)
        self.layouts.append((key, layout))
        return layout

    def _laid_out(self, key: tuple) -> TokenLayout | None:
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

    def _framed(self, batch: int, length: int, device: torch.device) -> TokenLayout | None:
        if self.frames is None:
            return None
        key = ("frames", batch, length)
        if (known := self._laid_out(key)) is not None:
            return known
        if (layout := self.frames.lay_out(batch, length, device)) is not None:
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

    def _chained(self, told: Told, place: Place, batch: int, length: int) -> TokenLayout:
        if told.chains.shape != (batch, length):
            raise InputError(
                f"{place.name}: its tokens are ({batch}, {length}, ...), but the token ids of the call, which tell "
                f"frames from words, are {tuple(told.chains.shape)}"
            )
        if (layout := self._laid_out((batch, length))) is None:
            layout = lay_out_chains(told.chains, told.count, self._real(place, batch, length))
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


class Thread:
    """What one thread is doing and has done with a stack.

    Attributes:
        inputs: of sub-blocks with a branch beside them, until they end.
        pending: calls that a checkpoint may still recompute; None: the last one was compiled, whose graph does that.
        recomputed: it has begun to.
        narrow: by place, Z of the last forward pass and the call that it is of; only where they are to be aligned.
        outputs: likewise the model's own states, with their masks.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, Tensor] = {}
        self.pending: deque[Call] | None = deque(maxlen=2)
        self.recomputed = False
        self.narrow: dict[str, tuple[Call, Tensor]] = {}
        self.outputs: dict[str, tuple[Tensor, Tensor | None]] = {}


class _Mine(threading.local):
    """Of each thread that comes by, its `Thread`; `everywhere` are those of all that live."""

    def __init__(self, everywhere: WeakSet) -> None:
        self.thread = Thread()
        everywhere.add(self.thread)


class _Running(threading.local):
    """Of each thread that comes by, the stacks whose calls have begun and not ended, with these; the last is innermost.

    No stack keeps its own: what a graph reaches through a module has lengths that are constants.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Stack, Call]] = []


class Stack:
    """Layers that see the same tokens, below one module whose call says which of them are real."""

    def __init__(self, name: str, module: Any, adapters: "Adapters") -> None:
        self.name, self.adapters = name, adapters
        self.frames = frames_of(module, {})
        self.windowed = is_one_of(module, WINDOWED)
        self.arguments = list(inspect.signature(module.forward).parameters)
        self.mask = mask_argument(self.arguments)
        self.tells = tells(module)
        self.teller: Stack | None = None  # the one whose calls tell what the tokens are
        self.wanted: list[str] | None = None
        if hasattr(module, "segments"):
            self.wanted = list(inspect.signature(module.segments).parameters)
        self.forget()

    def forget(self) -> None:
        """Drop all that is of calls."""
        self.everywhere: WeakSet[Thread] = WeakSet()
        self.mine = _Mine(self.everywhere)

    @property
    def thread(self) -> Thread:
        """What this thread does."""
        return self.mine.thread

    def __getstate__(self) -> dict[str, Any]:
        """For copies: without what threads hold, which is of this model's calls."""
        return {key: value for key, value in self.__dict__.items() if key not in ("mine", "everywhere")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.forget()

    def begin(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Forward pre-hook of the stack's module."""
        thread, given = self.thread, dict(zip(self.arguments, args, strict=False)) | kwargs
        call = Call(sides={modality: given.get(f"{modality}_mask") for modality in MODALITIES})
        call.adapters, call.unread = self.adapters.here(), (module, given)
        RUNNING.calls.append((self, call))  # before anything can fail, for `end` comes also after a failure
        if self.wanted is None:
            self._note_cache(call, module, given)
        if torch.compiler.is_compiling():
            thread.narrow, thread.pending = {}, None
            return  # tokens are read about in the graph of those who ask, in which lengths are no constants
        self._read(call)
        if recomputing():
            return
        thread.narrow = {}
        if thread.recomputed or thread.pending is None:
            thread.pending, thread.recomputed = deque(maxlen=2), False
        if module.training and torch.is_grad_enabled():
            thread.pending.append(call)

    def _note_cache(self, call: Call, module: Any, given: dict[str, Any]) -> None:
        """Before layers add to it."""
        call.cache, use_cache = given.get("past_key_values"), given.get("use_cache")
        if use_cache is None:
            use_cache = getattr(getattr(module, "config", None), "use_cache", False)
        call.past, call.keep = cached_tokens(call.cache), bool(use_cache)
        call.states = recall(call.cache) if call.past else None

    def _read(self, call: Call) -> None:
        """Let the call say which tokens it is about."""
        if call.unread is None:
            return
        (module, given), call.unread = call.unread, None
        if self.wanted is not None:
            call.segments = module.segments(**{name: given[name] for name in self.wanted if name in given})
            return
        mask = given.get(self.mask) if self.mask else None
        if self.mask != "attention_mask" and mask is not None:
            mask = ~mask if mask.dtype == torch.bool else mask == 0  # torch's own are True, or low, at padding
        call.mask, call.windowed = mask, self.windowed
        call.packed = self.adapters.looks and mask is None and begins_again(given.get("position_ids"))
        call.frames = frames_of(module, given) if GRIDS in given else self.frames
        words = next((given[key] for key in WORDS if isinstance(given.get(key), Tensor)), None)
        call.size = None if words is None or words.dim() < 2 else (words.shape[0], words.shape[1])
        if self.tells and self.adapters.looks:
            call.told = told(module, given, call.past)
        if self.teller and given.get("encoder_hidden_states") is None:  # which what a decoder writes attends to
            outer = self.teller.running()
            call.told, call.untold = (outer.told, None) if outer else (None, self.teller.name)

    def running(self) -> Call | None:
        """The innermost call in this thread that has begun and not ended."""
        for stack, call in reversed(RUNNING.calls):
            if stack is self:
                self._read(call)
                return call
        return None

    def end(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Forward hook of the stack's module; the output is None where the call failed."""
        if not RUNNING.calls or RUNNING.calls[-1][0] is not self:
            return
        thread, (_, call) = self.thread, RUNNING.calls.pop()
        wanted = self.adapters.record_narrow and isinstance(output, dict)
        if wanted and isinstance(states := output.get("states"), dict):
            masks = call.sides | (output.get("masks") or {})  # a model may read fewer tokens than it is given
            thread.outputs = {key: (value, masks.get(key)) for key, value in states.items() if key in MODALITIES}
        cache = getattr(output, "past_key_values", None) or call.cache
        if call.new_states and cache is not None:
            remember(cache, call.new_states)

    def current(self, place: str, tokens: Tensor) -> Call:
        """The call that a place runs in, be it one that a checkpoint recomputes.

        Raises:
            InputError: the place runs, but not in a call of the stack.
        """
        if (call := self.running()) is not None:
            return call
        if recomputing():
            return self._recomputed(tokens.device)
        if self.wanted is None and self.mask is None:
            return Call(frames=self.frames)  # nothing could have been told
        raise InputError(
            f"{place} runs outside the forward call of {self.name or 'the model'}, which alone tells which tokens are "
            "real; call that, or name places whose layers are called by another"
        )

    def _recomputed(self, device: torch.device) -> Call:
        """The call whose layer is computed again; on a GPU that happens in a thread of torch's own."""
        threads = [self.thread] if self.thread.pending else [thread for thread in self.everywhere if thread.pending]
        calls = [call for thread in threads for call in thread.pending or () if len(threads) == 1 or call.on(device)]
        for thread in threads:
            thread.recomputed = True
        if self.thread.pending is None:
            raise RuntimeError(
                f"gradient checkpointing recomputes a layer of {self.name or 'the model'}, whose call was compiled "
                "without it; compile the whole model, or no part of it"
            )
        if not calls:
            return Call(frames=self.frames)
        first, *others = calls
        if not all(first.same(other) for other in others):
            raise RuntimeError(
                "gradient checkpointing recomputes a layer after two forward passes with different masks, and an "
                "adapter cannot tell which of the two it is; call backward between them"
            )
        return first


RUNNING = _Running()


def recomputing() -> bool:
    """Whether this runs inside a backward pass, as a checkpointed layer does when it is computed again."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() >= 0


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    return first is second or (first is not None and second is not None and torch.equal(first, second))
