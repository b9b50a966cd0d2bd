"""Stacks and their forward calls, thread by thread: what hooks on sub-blocks have to remember.

Hooks are bound methods of plain objects, so that a deep copy of a model has hooks of its own, and the keys of the
backbone's state dict stay as they were. What is of one call is held by the thread that makes it: one model serves many.
"""

import inspect
import threading
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from read.adapters.calls import MODALITIES, Call
from read.adapters.evidence import knows_padding, packs
from read.adapters.families import WINDOWED, is_one_of
from read.adapters.frames import GRIDS, frames_of
from read.adapters.masks import begins_again
from read.adapters.modalities import tells, told
from read.adapters.recurrent_cache import cached_tokens, recall, refuse_others, remember
from read.adapters.surroundings import is_pretrained, mask_argument
from read.errors import InputError

if TYPE_CHECKING:
    from read.adapters.runtime import Adapters

WORDS = ("input_ids", "inputs_embeds")  # arguments of which each sample is a sequence of tokens


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
        self.mask, self.knows_padding = mask_argument(self.arguments), knows_padding(module)
        self.tells, self.packs = tells(module), packs(module)
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
        if self.adapters.looks and is_pretrained(module):
            refuse_others(given)
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
        if mask is None and self.knows_padding and not call.past and isinstance(ids := given.get("input_ids"), Tensor):
            mask = ids != getattr(module, "pad_index", module.config.pad_token_id)
        if self.mask != "attention_mask" and mask is not None:
            mask = ~mask if mask.dtype == torch.bool else mask == 0  # torch's own are True, or low, at padding
        call.mask, call.windowed = mask, self.windowed
        call.packed = self.adapters.looks and mask is None and begins_again(given.get("position_ids"))
        call.frames = frames_of(module, given) if GRIDS in given else self.frames
        call.packed |= self.packs or (given.get("cu_seqlens") is not None and call.frames is None)
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
