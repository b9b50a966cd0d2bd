"""Recurrent cells as modules: in eager mode calls of torch's, in graphs one node or one loop, whatever the lengths are.

In a graph of torch.compile a cell is a node that runs what eager mode runs; in one of torch.export, and in ONNX, it is
a loop of plain operators. Symbols: R rows, L steps, r width; a state is h, and with an LSTM c, each (R, r).
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from read.adapters.recurrence import gradients, run, run_torchs
from read.adapters.scan import SCANNED, Scanned, last_of
from read.scan import over_time

MODES = {"rnn": "RNN_TANH", "gru": "GRU", "lstm": "LSTM"}  # of torch's cells
State = tuple[Tensor, ...]  # what a mixer carries from one call to the next, each (R, ...)


class TorchCell(nn.RNNBase):
    """torch's RNN, GRU or LSTM of one layer, under another class, since torch.compile refuses modules of those."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__(MODES[kind], width, width, batch_first=True)

    def forward(self, rows: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """All h (R, L, r) from rows (R, L, r), and the last state.

        Args:
            rows: the input.
            state: to go on from; None: zero.
            lengths: (R,) real places, which stand first: the state after each row's last one is wanted. None: all are.
        """
        state = self.start(rows, rows.shape[0]) if state is None else state
        weights: list[Any] = [self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0]
        if torch.compiler.is_exporting():
            return _loop(self.mode, rows, state, weights, lengths)
        call = _node if torch.compiler.is_compiling() else run
        train = self.training or torch.is_grad_enabled()
        output, *last = call(self.mode, rows, list(state), weights, lengths, train)
        return output, tuple(last)

    def start(self, like: Tensor, rows: int) -> State:
        """The state before the first step: zero."""
        return tuple(like.new_zeros(rows, self.hidden_size) for _ in range(2 if self.mode == "LSTM" else 1))


def make_cell(kind: str, width: int) -> TorchCell | Scanned:
    """One of `read.adapters.config.RECURRENT`, called as `TorchCell` is."""
    return SCANNED[kind](width) if kind in SCANNED else TorchCell(kind, width)


@torch.library.custom_op("read::cell", mutates_args=())
def _node(
    mode: str, rows: Tensor, state: list[Tensor], weights: list[Tensor], lengths: Tensor | None, train: bool
) -> list[Tensor]:
    return [part.contiguous() for part in run_torchs(mode, rows, state, weights, lengths, train)]


@torch.library.custom_op("read::cell_gradients", mutates_args=())
def _gradients_node(
    mode: str, rows: Tensor, state: list[Tensor], weights: list[Tensor], lengths: Tensor | None, toward: list[Tensor]
) -> list[Tensor]:
    return [part.contiguous() for part in gradients(mode, rows, state, weights, lengths, toward)]


@_node.register_fake
def _(mode, rows, state, weights, lengths, train):
    return [torch.empty_like(part, memory_format=torch.contiguous_format) for part in (rows, *state)]


@_gradients_node.register_fake
def _(mode, rows, state, weights, lengths, toward):
    return [torch.empty_like(part, memory_format=torch.contiguous_format) for part in (rows, *state, *weights)]


def _keep(ctx, inputs, output) -> None:
    mode, rows, state, weights, lengths, _ = inputs
    ctx.mode, ctx.parts = mode, len(state)
    ctx.save_for_backward(rows, lengths, *state, *weights)


def _backward(ctx, toward: list[Tensor]) -> tuple:
    rows, lengths, *others = ctx.saved_tensors
    state, weights = others[: ctx.parts], others[ctx.parts :]
    of_rows, *others = _gradients_node(ctx.mode, rows, state, weights, lengths, toward)
    return None, of_rows, others[: ctx.parts], others[ctx.parts :], None, None


_node.register_autograd(_backward, setup_context=_keep)


def _loop(mode: str, rows: Tensor, state: State, weights: list[Tensor], lengths: Tensor | None) -> tuple[Tensor, State]:
    step = partial(STEPS[mode], weight=weights[1], bias=weights[3])
    states = over_time(step, state, (F.linear(rows, weights[0], weights[2]),))
    if lengths is None:
        return states[0], tuple(part[:, -1] for part in states)
    return states[0], tuple(last_of(part, lengths, before) for part, before in zip(states, state, strict=True))


def _elman(state: State, at: State, weight: Tensor, bias: Tensor) -> State:
    return (torch.tanh(at[0] + F.linear(state[0], weight, bias)),)


def _gated(state: State, at: State, weight: Tensor, bias: Tensor) -> State:
    reset, update, new = at[0].chunk(3, dim=-1)
    hidden_reset, hidden_update, hidden_new = F.linear(state[0], weight, bias).chunk(3, dim=-1)
    new = torch.tanh(new + torch.sigmoid(reset + hidden_reset) * hidden_new)
    return (new + torch.sigmoid(update + hidden_update) * (state[0] - new),)


def _long_short(state: State, at: State, weight: Tensor, bias: Tensor) -> State:
    enter, forget, new, leave = (at[0] + F.linear(state[0], weight, bias)).chunk(4, dim=-1)
    c = torch.sigmoid(forget) * state[1] + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(leave) * torch.tanh(c), c


STEPS = {"RNN_TANH": _elman, "GRU": _gated, "LSTM": _long_short}
