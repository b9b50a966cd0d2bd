"""Settings: dataclasses whose fields are checked by their annotations, before anything is computed with them."""

import dataclasses
import math
import types
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from read.errors import InputError
from read.plugins import none_of
from read.rows import shown

Made = TypeVar("Made")
WORDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text", type(None): "nothing"}

WINDOWS = ("auto", "ladder", "runs", "spans")  # ways to read windows off a model: `read.grounding.windows`


def check_types(settings: Any, name: str) -> None:
    """Check a dataclass's fields; a whole number does for a float, true and false are no numbers.

    Args:
        settings: the dataclass, as its `__post_init__` has it. Annotations of other types than those that JSON has are
            not looked at.
        name: what the settings are of, for the message.

    Raises:
        InputError: naming all fields at fault, and what each should be.
    """
    kinds = get_type_hints(type(settings))
    faults = []
    for field in dataclasses.fields(settings):
        value, kind = getattr(settings, field.name), kinds[field.name]
        if not fits(value, kind):
            choice = get_origin(kind) is Literal and isinstance(value, str)
            reason = none_of(value, map(str, get_args(kind))) if choice else f"is {shown(value)}, not {words(kind)}"
            faults.append(f"{field.name} {reason}")
    if faults:
        raise InputError(f"{name}: {'; '.join(faults)}")


def make_settings(kind: type[Made], values: Mapping[str, Any], name: str) -> Made:
    """A dataclass of settings from values by name. Raises InputError for unknown fields, and for those that lack."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    known = sorted(field.name for field in fields)
    if unknown := sorted(values.keys() - set(known)):
        raise InputError(f"{name} has no setting {', '.join(unknown)}; it has {', '.join(known)}")
    needed = [field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING]
    if missing := [key for key in needed if key not in values]:
        raise InputError(f"{name}: {', '.join(missing)} is missing")
    return kind(**values)


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is what an annotation says; a whole number does for a float, true and false are no numbers."""
    inner = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if get_origin(kind) is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if get_origin(kind) is tuple and inner[1:] == (...,):
        return isinstance(value, tuple) and all(fits(one, inner[0]) for one in value)
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        return number and math.isfinite(value)
    return isinstance(value, kind) if kind in WORDS else True


def words(kind: Any) -> str:
    """An annotation, in words."""
    inner = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(words, inner))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, inner))}"
    return f"a tuple of which each is {words(inner[0])}" if inner else WORDS[kind]
