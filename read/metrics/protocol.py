"""How the queries of a benchmark are scored, with the levels of chance and of the truth: a file each in `protocols/`.

Times in seconds, scores in percent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from read.plugins import PROTOCOLS

Row = Mapping[str, Any]
Scores = dict[str, float]


@dataclass(frozen=True)
class Protocol:
    """A benchmark's way to score queries.

    Attributes:
        primary: the score that its tables are about.
        scores: (predictions, annotations, clip_len) -> name -> percent. Where annotations are of several `kind`s and
            the benchmark's figure is a mean over domains, so is this.
        random: (annotations, clip_len, draws, seed) -> what chance scores.
        oracle: (annotations, clip_len) -> what the ground truth itself scores.
        choice: (predictions, annotations, clip_len) -> the number that chooses steps and learning rates.
    """

    primary: str
    scores: Callable[[Sequence[Row], Sequence[Any], float], Scores]
    random: Callable[[Sequence[Any], float, int, int], Scores]
    oracle: Callable[[Sequence[Any], float], Scores]
    choice: Callable[[Sequence[Row], Sequence[Any], float], float]


def get_protocol(name: str) -> Protocol:
    """The protocol of a name, by which cards know it. Raises InputError for one that there is not, with the nearest."""
    return PROTOCOLS.load(name)
