"""The entries of `strategies` in params.yaml: which registered strategy each is, and whether its options fit."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import read
from read.errors import InputError

FOLDER = Path(read.__file__).parent / "adapters" / "strategies"


def method_of(strategy: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The registered strategy behind an entry of params.yaml, and its own options.

    An entry is named after its strategy, or names it as `method`, so that one strategy can stand there twice.
    """
    options = dict(options)
    return options.pop("method", strategy), options


def check_strategies(strategies: Mapping[str, Mapping[str, Any]], name: str = "params.yaml") -> None:
    """Raise InputError with every entry that names no strategy or an option that its strategy has not."""
    if mistakes := [f"{name}: strategies.{mistake}" for mistake in _mistakes(strategies)]:
        raise InputError("\n".join(mistakes))


def _mistakes(strategies: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    known = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "registry"))
    for entry, given in strategies.items():
        method, options = method_of(entry, given)
        if method not in known:
            near = difflib.get_close_matches(str(method), known, n=1)
            yield f"{entry}: no strategy {method!r}; " + (
                f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            )
        elif options:
            from read.adapters.registry import get_strategy  # seconds of torch, only where it is needed

            try:
                get_strategy(method).complete(options)
            except InputError as error:
                yield f"{entry}: {error}"
