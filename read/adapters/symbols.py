"""Symbols for the tensors of a forward method that is followed without being run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

UNKNOWN: Any = object()  # what may be anything
OPTIONS = 8  # that are told apart among what a variable may be


class UnreadableError(Exception):
    """Source that is not there, or says something that is not followed."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor, by how it was made.

    Attributes:
        kind: input, module, sum, join, choice, part, op, or any, where it may be none.
        path: of the module, below the layer.
        sources: what it was made of; of a module's output, the first argument comes first.
        stream: it is the residual, its norm or a part of it.
    """

    kind: str
    path: str = ""
    sources: "tuple[Value, ...]" = ()
    stream: bool = False

    @property
    def bases(self) -> "Iterator[Value]":
        """Itself, and what the residual was before other sub-blocks joined."""
        yield self
        if self.kind in ("join", "choice", "part"):
            for source in self.sources[: 1 if self.kind == "join" else None]:
                yield from source.bases

    @property
    def may_be_none(self) -> bool:
        """Whether it may be what a caller has not given."""
        return self.kind == "any" or (self.kind == "choice" and any(part.may_be_none for part in self.sources))

    def history(self) -> "dict[int, Value]":
        """All that it was made of, and itself."""
        found: dict[int, Value] = {}
        waiting = [self]
        while waiting:
            value = waiting.pop()
            if id(value) not in found:
                found[id(value)] = value
                waiting += value.sources
        return found

    def trunk(self) -> "list[Value]":
        """What of its history it carries on: all but what modules made of it, norms of the residual apart."""
        found: dict[int, Value] = {}
        waiting = [self]
        while waiting:
            value = waiting.pop()
            if (value.stream or value.kind in ("choice", "part", "op")) and id(value) not in found:
                found[id(value)] = value
                waiting += value.sources[: 1 if value.kind in ("join", "module") else None]
        return list(found.values())

    def ends(self) -> "list[Value] | None":
        """The modules whose outputs it is the sum of, or is one of; None where it is something else."""
        if self.kind == "module":
            return [self]
        if self.kind not in ("sum", "choice"):
            return None
        parts = [source.ends() for source in self.sources]
        return None if None in parts else [end for part in parts for end in part or ()]

    def nearest(self) -> "list[Value]":
        """The modules that it was made of by what is no module."""
        found: dict[str, Value] = {}
        waiting = [self]
        while waiting:
            value = waiting.pop()
            if value.kind == "module":
                found[value.path] = value
            elif not value.stream:
                waiting += value.sources
        return list(found.values())


def either(values: list) -> Any:
    """One of several values, whichever."""
    found: list = []
    for value in values:
        if not any(value is other or _equal(value, other) for other in found):
            found.append(value)
    if len(found) == 1:
        return found[0]
    if all(isinstance(value, tuple) for value in found):
        return tuple(either(list(parts)) for parts in zip(*found, strict=False))
    parts = [value[0] if isinstance(value, tuple) and value else value for value in found]
    options = [value for value in parts if isinstance(value, Value)]
    if not options or len(options) > OPTIONS:
        return UNKNOWN
    stream = all(value.stream for value in options)  # what a caller may give in its place is the caller's residual
    options += [Value("any")] * (len(options) < len(parts))
    return Value("choice", sources=tuple(options), stream=stream)


def _equal(first: Any, second: Any) -> bool:
    plain = (bool, int, float, str, type(None))
    return isinstance(first, plain) and isinstance(second, plain) and type(first) is type(second) and first == second


def tensors_of(values: list) -> tuple[Value, ...]:
    """The symbols among values, and among those in tuples."""
    flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return tuple(value for value in flat if isinstance(value, Value))
