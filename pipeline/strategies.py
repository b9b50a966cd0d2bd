"""The entries of `strategies` in params.yaml: which registered strategy each is, and whether its options fit."""

from collections.abc import Iterator, Mapping
from typing import Any

from read.errors import InputError
from read.plugins import BACKBONES, STRATEGIES

FRAME = ("cosine", "map", "shots", "zero_shot")  # rows that no strategy makes


def method_of(strategy: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The registered strategy behind an entry of params.yaml, and its own options.

    An entry is named after its strategy, or names it as `method`, so that one strategy can stand there twice.
    """
    options = dict(options)
    return options.pop("method", strategy), options


def fits(method: str, backbone: str) -> bool:
    """Whether a strategy can train on a backbone of grounding: none that aligns can where no word's state changes."""
    if BACKBONES.constant(backbone, "ALIGNS", True):
        return True
    from read.adapters.registry import get_strategy  # seconds of torch, only where it is needed

    return not get_strategy(method).alignment


def check_strategies(
    strategies: Mapping[str, Mapping[str, Any]], name: str = "params.yaml", backbone: str | None = None
) -> None:
    """Raise InputError with every entry that is no strategy, has an option too many, or does not fit the backbone."""
    if mistakes := [f"{name}: strategies.{mistake}" for mistake in _mistakes(strategies, backbone)]:
        raise InputError("\n".join(mistakes))


def _mistakes(strategies: Mapping[str, Mapping[str, Any]], backbone: str | None) -> Iterator[str]:
    for entry, given in strategies.items():
        if entry in FRAME:
            yield f"{entry}: is the name of a row that frames the table; name the entry otherwise, with `method`"
        method, options = method_of(entry, given)
        try:
            STRATEGIES.check(method)
            if options:
                _check(method, options)
            if backbone is not None and not fits(method, backbone):
                yield f"{entry}: aligns video with words, which never change in {backbone}; take another, as read"
        except InputError as error:
            yield f"{entry}: {error}"


def _check(method: str, options: Mapping[str, Any]) -> None:
    from read.adapters.registry import ALIGNMENT_OPTIONS, get_strategy  # seconds of torch, only where it is needed
    from read.alignment import Alignment

    strategy = get_strategy(method).of(options)
    complete = strategy.complete(options)
    if strategy.alignment:
        Alignment(**{name: complete[name] for name in ALIGNMENT_OPTIONS})
