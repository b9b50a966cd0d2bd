"""What joins the residual of a layer, as its source says: against layers whose blocks are known."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from read.adapters.residuals import joins_of


class Layer(nn.Module):
    """Parts that the layers below are made of."""

    def __init__(self):
        super().__init__()
        self.norm, self.after = nn.LayerNorm(4), nn.LayerNorm(4)
        self.first, self.last, self.attn = nn.Linear(4, 8), nn.Linear(8, 4), nn.Linear(4, 4)
        self.drop, self.scale, self.factor = nn.Dropout(0.1), nn.Parameter(torch.ones(4)), 0.5
        self.matrix = nn.Parameter(torch.ones(4, 4))
        self.normed_before, self.parallel = True, False

    def feed(self, tokens):
        return self.last(F.gelu(self.first(tokens)))


def sum_after_dropout(branch, residual):
    return residual + F.dropout(branch, 0.1)


class PreNorm(Layer):
    def forward(self, x):
        x = x + self.drop(self.attn(self.norm(x)))
        return x + self.feed(self.after(x))


class PostNorm(Layer):
    def forward(self, x):
        x = self.norm(self.attn(x) + x)
        return self.after(F.dropout(self.feed(x), 0.1, self.training) + x)


class Sandwich(Layer):
    def forward(self, x):
        residual = x
        x = self.after(self.feed(self.norm(x)))
        return residual + x


class Parallel(Layer):
    def forward(self, x):
        normed = self.norm(x)
        return self.attn(normed) + self.feed(normed) + x


class InPlace(Layer):
    def forward(self, x):
        branch = self.feed(self.norm(x))
        branch += self.attn(self.norm(x))
        return sum_after_dropout(branch, x)


class Scaled(Layer):
    def forward(self, x):
        x = x + self.scale * self.attn(self.norm(x))
        return x + self.feed(self.after(x)) * self.factor


class Decided(Layer):
    def forward(self, x, cache=None):
        residual = x
        if self.normed_before:
            x = self.norm(x)
        x = self.attn(x)
        if cache is not None:
            x = x.to(cache.dtype)
        x = residual + x
        if not self.normed_before:
            x = self.norm(x)
        if self.parallel and cache is not None:
            raise ValueError
        return (x + self.feed(x), cache)


class ByAMatrix(Layer):
    def forward(self, x):
        return x + self.feed(self.norm(x)) @ self.matrix


class Rearranged(Layer):
    def forward(self, x):
        return x + self.attn(self.norm(x).transpose(1, 2)).transpose(1, 2)


class RearrangedBeforeDropout(Layer):
    def forward(self, x):
        x = x + self.drop(self.attn(self.norm(x).transpose(1, 2)).transpose(1, 2))
        return x + self.feed(self.after(x))


class DropoutOfTwo(Layer):
    def forward(self, x):
        x = x + self.drop(self.attn(self.norm(x).transpose(1, 2)).transpose(1, 2))
        return x + self.drop(self.feed(self.after(x)))


class OfTwoModules(Layer):
    def forward(self, x):
        return x + self.attn(x) * self.first(x)


class ViewedAsTheResidual(Layer):
    def forward(self, x):
        return x + self.feed(self.norm(x).flatten(0, 1)).view(x.shape)


class ViewedAsAnother(Layer):
    def forward(self, x, like):
        return x + self.feed(self.norm(x)).view(like.shape)


class AddedToWhatABlockReads(Layer):
    def forward(self, x):
        return x + self.feed(self.norm(x + self.attn(x)))


class OtherTensor(Layer):
    def forward(self, x, positions):
        return self.feed(x + self.attn(positions))


class InALoop(Layer):
    def forward(self, x):
        for _ in range(2):
            x = x + self.feed(x)
        return x


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = PreNorm()

    def forward(self, hidden_states):
        return self.inner(hidden_states)


BLOCKS = {
    PreNorm: [("attn", "attn"), ("last", "first")],
    PostNorm: [("attn", "attn"), ("last", "first")],
    Sandwich: [("after", "first")],
    Parallel: [("attn", "attn"), ("last", "first")],
    InPlace: [("last", "first"), ("attn", "attn")],
    Scaled: [("attn", "attn"), ("last", "first")],
    Decided: [("attn", "attn"), ("last", "first")],
    ByAMatrix: [("last", "first", "arranged")],
    Rearranged: [("attn", "attn", "arranged")],
    RearrangedBeforeDropout: [("drop", "drop"), ("last", "first")],
    DropoutOfTwo: [(None, ""), ("last", "first")],
    OfTwoModules: [(None, "")],
    ViewedAsTheResidual: [("last", "first")],
    ViewedAsAnother: [("last", "first", "arranged")],
    AddedToWhatABlockReads: [("last", "first")],
    OtherTensor: [],
    InALoop: [],
    Nested: [("inner.attn", "inner.attn"), ("inner.last", "inner.first")],
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_blocks_end_where_they_join_and_start_where_they_leave(kind):
    found = [(join.end, join.entry, *["arranged"] * join.arranged) for join in joins_of(kind())]
    assert found == BLOCKS[kind]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_settings_decide_and_the_mode_does_not(training, before):
    layer = Decided().train(training)
    layer.normed_before = before
    assert [(join.end, join.entry) for join in joins_of(layer)] == BLOCKS[Decided]


def test_what_has_no_source_has_no_blocks():
    names: dict = {}
    exec("def forward(self, x):\n    return x + self.feed(x)", names)
    layer = type("Typed", (Layer,), {"forward": names["forward"]})()
    assert joins_of(layer) == []
