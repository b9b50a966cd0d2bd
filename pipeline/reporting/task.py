"""What the page says of a task and shows of it; all else is the same for every task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from read.data.lengths import Length

PERCENT = 100.0


@dataclass(frozen=True)
class ReportedTask:
    """A task as the report knows it.

    `samples` is what is scored, many of them, and `sample` one. `below` and `above` are the rows without a model
    that frame the score table, `plain` those that need no training and that training has to surpass, each with what it
    is. `notes` explains metrics, `columns` are those shown. `load`
    reads the labels of a dataset's folder, given seconds per clip, the videos' lengths and what was heard in them; each
    has a `vid` and a `split`. `showcase` makes the examples from `Results`. `scales` holds the highest value of metrics
    that are no percentage, `counted` are the metrics that are a share of samples, which can be told as a count.
    """

    name: str
    title: str
    about: str
    samples: str
    sample: str
    columns: tuple[str, ...]
    notes: Mapping[str, str]
    below: Mapping[str, str]
    above: Mapping[str, str]
    load: Callable[[Path, float, Mapping[str, Length], Path | None], Sequence[Any]]
    showcase: Callable[[Any], dict[str, Any]]
    scales: Mapping[str, float] = field(default_factory=dict)
    counted: tuple[str, ...] = ()
    plain: Mapping[str, str] = field(default_factory=dict)

    def scale(self, metric: str) -> float:
        """The highest value of a metric."""
        return self.scales.get(metric, PERCENT)

    def digits(self, metric: str) -> int:
        """Decimals that are shown of a metric."""
        return 1 if self.scale(metric) == PERCENT else 2

    def show(self, value: float, metric: str, sign: str = "") -> str:
        """A value of a metric as text; `sign` is `+` for differences."""
        return f"{value:{sign}.{self.digits(metric)}f}"
