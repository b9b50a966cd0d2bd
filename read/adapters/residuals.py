"""Where what a layer's modules give joins its residual, read from the source of its forward methods.

A layer is followed through its statements with one symbol for its tokens. A sum `y + z` is a join where z was computed
from y: then the modules that z comes from, up to dropout and constant factors, end a sub-block.
"""

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType
from typing import Any

from torch import nn

from read.adapters.statements import Frame, bound
from read.adapters.symbols import UNKNOWN, UnreadableError, Value, either, tensors_of

PASSES = ("Dropout", "DropPath", "Identity", "StochasticDepth")  # in evaluation, a module that ends so gives its input
DEPTH = 8  # of calls inside calls


@dataclass(frozen=True)
class Join:
    """A sub-block that joins the residual.

    Attributes:
        end: the module whose output does, below the layer; None where it is no module's.
        entry: the module that the sub-block starts with.
        modules: all between the residual and the end.
        arranged: something is done with what the end gives before it joins.
    """

    end: str | None
    entry: str
    modules: tuple[str, ...]
    arranged: bool = False


def joins_of(layer: nn.Module) -> list[Join]:
    """The sub-blocks of `layer`, in the order of its forward method; none where its source cannot be read."""
    reader = _Reader(layer)
    try:
        given = reader.run_module(layer, [Value("input", stream=True)], {})
    except (UnreadableError, RecursionError):
        return []
    lasting = {id(value) for output in tensors_of([given]) for value in output.trunk()}
    often = {path for path, count in reader.passes.items() if count > 1}  # they end several blocks, or one and no block
    found = dict.fromkeys(join for total, join in reader.joins if id(total) in lasting)
    return [Join(None, "", join.modules) if join.end in often else join for join in found]


@cache
def _parsed(function: FunctionType) -> ast.FunctionDef:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError) as error:
        raise UnreadableError(str(error)) from None
    if not isinstance(tree, ast.FunctionDef):
        raise UnreadableError(function.__name__)
    return tree


@dataclass
class _Reader:
    """Follows the forward methods of one layer and of what is in it."""

    layer: nn.Module
    joins: list[tuple[Value, Join]] = field(default_factory=list)  # with the sums
    passes: Counter[str] = field(default_factory=Counter)  # calls of modules that change nothing in evaluation
    depth: int = 0

    def __post_init__(self) -> None:
        self.paths = {id(module): path for path, module in self.layer.named_modules()}

    # calls

    def run_module(self, module: nn.Module, args: list, kwargs: dict) -> Any:
        return self.run(type(module).forward, [module, *args], kwargs)

    def run(self, function: Any, args: list, kwargs: dict) -> Any:
        """What a Python function returns."""
        function = inspect.unwrap(function)
        if not isinstance(function, FunctionType) or self.depth >= DEPTH:
            raise UnreadableError(str(function))
        tree, before = _parsed(function), len(self.joins)
        frame = Frame(self, bound(tree.args, args, kwargs), function.__globals__)
        self.depth += 1
        try:
            frame.block(tree.body)
        except UnreadableError:
            del self.joins[before:]
            raise
        finally:
            self.depth -= 1
        return either(frame.returned) if frame.returned else None

    def call_module(self, module: nn.Module, args: list, kwargs: dict) -> Any:
        """A module's output: what its forward method says where sub-blocks join in it, otherwise a symbol for it."""
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Value)]
        if not given or id(module) not in self.paths:
            return UNKNOWN
        name = type(module).__name__
        if name.endswith(PASSES):
            self.passes[self.paths[id(module)]] += 1
            if given[0].stream or given[0].ends() is not None:
                return given[0]
            return Value("module", self.paths[id(module)], tuple(given))  # no module before it ends the block
        is_norm = name.endswith("Norm") and not any(module.children())
        if not is_norm and not type(module).__module__.startswith("torch.nn."):
            before = len(self.joins)
            with suppress(UnreadableError):
                value = self.run_module(module, args, kwargs)
                if len(self.joins) > before:
                    return value
        return Value("module", self.paths[id(module)], tuple(given), is_norm and given[0].stream)

    def add(self, left: Value, right: Value) -> Value:
        """A sum, and a join where one was made of the other."""
        for stream, branch in ((left, right), (right, left)):
            history = branch.history()
            if stream.stream and stream is not branch and any(id(base) in history for base in stream.bases):
                total = Value("join", sources=(stream, branch), stream=True)
                self.joins += ((total, join) for join in _joins(branch))
                return total
        return Value("sum", sources=(left, right))


def _joins(branch: Value) -> Iterator[Join]:
    """The sub-blocks that end in what is added to the residual."""
    ends, arranged = branch.ends(), False
    if ends is None:
        ends, arranged = branch.nearest(), True
        if len(ends) != 1:
            yield Join(None, "", _between(branch))
            return
    for end in ends:
        modules = tuple(value.path for value in _chain(end) if value.kind == "module")
        yield Join(end.path, modules[-1], _between(end), arranged)


def _chain(value: Value) -> Iterator[Value]:
    """From the end of a sub-block back to what takes the residual, or what takes tokens in another arrangement."""
    while not value.stream and value.kind in ("module", "op"):
        yield value
        if not value.sources:
            return
        value = value.sources[0]


def _between(value: Value) -> tuple[str, ...]:
    """Names of all modules that a sub-block's end was made with since the residual."""
    found, waiting, seen = [], [value], set()
    while waiting:
        part = waiting.pop()
        if part.stream or id(part) in seen:
            continue
        seen.add(id(part))
        found += [part.path] * (part.kind == "module")
        waiting += part.sources
    return tuple(found)
