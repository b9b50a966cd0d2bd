"""Kinds and bounds of JSON values that a stranger wrote: a check yields the faults of a value, each with its place.

A check is a function of (value, place); a value without faults yields nothing.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from read.errors import InputError
from read.files import read_json

Check = Callable[[Any, str], Iterator[str]]
MAX_BYTES = 32 * 1024**2  # of a JSON file; the largest that is read is a tokenizer's, some megabytes
SHOWN = 5  # faults that a message names
DEPTH, ENTRIES, LETTERS, LARGEST = 12, 200_000, 100_000, 10**31  # transformers writes 10**30 for no limit
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def read_document(path: Path, check: Check) -> dict[str, Any]:
    """The JSON object in a file of a bundle, after a check.

    Raises:
        InputError: the file is absent, too large, no JSON object, or holds what `check` refuses: all faults at once.
    """
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise InputError(f"{path}: {size} bytes; {MAX_BYTES} are the most that are read")
        value = read_json(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object")
    faults = list(islice(check(value, ""), SHOWN + 1))
    if faults:
        more = "; and more" if len(faults) > SHOWN else ""
        raise InputError(f"{path}: {'; '.join(faults[:SHOWN])}{more}")
    return value


def whole(low: int, high: int) -> Check:
    """A whole number."""

    def check(value: Any, place: str) -> Iterator[str]:
        if type(value) is not int or not low <= value <= high:
            yield f"{place} is {shown(value)}, not a whole number from {low} to {high}"

    return check


def number(low: float, high: float, *, above: bool = False) -> Check:
    """A number; greater than `low` where `above`."""

    def check(value: Any, place: str) -> Iterator[str]:
        if type(value) not in (int, float) or not (low < value <= high or (value == low and not above)):
            yield f"{place} is {shown(value)}, not a number {'above' if above else 'from'} {low:g} to {high:g}"

    return check


def flag(value: Any, place: str) -> Iterator[str]:
    """True or false."""
    if type(value) is not bool:
        yield f"{place} is {shown(value)}, not true or false"


def text(most: int = 1000, pattern: str = r"(?s).*") -> Check:
    """A text of at most `most` characters, all of which print, that `pattern` matches as a whole."""
    form = re.compile(pattern)

    def check(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, str) or len(value) > most or not form.fullmatch(value) or _UNPRINTABLE.search(value):
            yield f"{place} is {shown(value)}, not such a text as is due there"

    return check


def one_of(*values: Any) -> Check:
    """One of a few values."""

    def check(value: Any, place: str) -> Iterator[str]:
        if not any(type(value) is type(each) and value == each for each in values):
            yield f"{place} is {shown(value)}, not one of {', '.join(map(str, values))}"

    return check


def maybe(inner: Check) -> Check:
    """Null, or what `inner` takes."""
    return lambda value, place: iter(()) if value is None else inner(value, place)


def items(inner: Check, low: int, high: int) -> Check:
    """A list of `low` to `high` values."""

    def check(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, list) or not low <= len(value) <= high:
            yield f"{place} is {shown(value)}, not a list of {low} to {high}"
            return
        for index, each in enumerate(value):
            yield from inner(each, f"{place}[{index}]")

    return check


def table(key: str, inner: Check, high: int, what: str = "name") -> Check:
    """An object of at most `high` keys, each of which the pattern `key` matches as a whole."""
    form = re.compile(key)

    def check(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict) or len(value) > high:
            yield f"{place} is {shown(value)}, not an object of at most {high} keys"
            return
        for name, each in value.items():
            if form.fullmatch(name):
                yield from inner(each, _under(place, name))
            else:
                yield f"{place}: {shown(name)} is no {what}"

    return check


def record(needed: Mapping[str, Check], known: Mapping[str, Check] | None = None, rest: Check | None = None) -> Check:
    """An object that has the keys `needed`, may have those `known`, and others only where `rest` takes them."""
    known = known or {}

    def check(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{place} is {shown(value)}, not an object"
            return
        for name in needed.keys() - value.keys():
            yield f"{_under(place, name)} is missing"
        for name, each in value.items():
            inner = needed.get(name) or known.get(name) or rest
            if inner is None:
                yield f"{place or 'the file'}: {shown(name)} is no setting"
            else:
                yield from inner(each, _under(place, name))

    return check


def plain(value: Any, place: str) -> Iterator[str]:
    """Any JSON, of bounded depth and size, without numbers that are not finite and characters that do not print."""
    left, size = [(value, place, 0)], 0
    while left:
        value, place, depth = left.pop()
        size += 1
        if depth > DEPTH or size > ENTRIES:
            yield f"{place}: nested too deeply, or too much"
            return
        if isinstance(value, str):
            yield from text(LETTERS)(value, place)
        elif isinstance(value, float | int) and not -LARGEST <= value <= LARGEST:
            yield f"{place} is {shown(value)}, no such number as is due there"
        elif isinstance(value, dict):
            for name in value:
                yield from text()(name, place)
            left += [(each, _under(place, name), depth + 1) for name, each in value.items()]
        elif isinstance(value, list):
            left += [(each, f"{place}[{index}]", depth + 1) for index, each in enumerate(value)]


def shown(value: Any) -> str:
    """A value for a message: short, and of characters that print."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if type(value) is int and value.bit_length() > sys.int_info.default_max_str_digits:
        return "a number of more than a thousand digits"
    said = json.dumps(value)
    return said if len(said) <= 60 else f"{said[:57]}..."


def _under(place: str, name: str) -> str:
    name = name if name.isidentifier() and len(name) < 60 else shown(name)
    return f"{place}.{name}" if place else name
