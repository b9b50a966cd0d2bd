"""Whether the right moment ranks above one that looks like it: of what, by which kind, and where that is too little.

A strategy cannot show that it learns a kind which its backbone never learned, so the source's validation side decides
what the page may say at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.reporting.inputs import Results
from pipeline.reporting.records import Reference
from pipeline.reporting.tables import TableRow, make_rows, reference_rows

CHANCE, KNOWN = 50.0, 80.0  # percent: of guesses, and from where on a backbone counts as knowing a kind
SIDES = {"source_train": "backbone, source’s training side", "source_val": "backbone, source’s validation side"}


@dataclass(frozen=True)
class Discrimination:
    """The table: `kinds` are its columns, `sides` the backbone on the source's sides, `rows` all others with values."""

    kinds: list[str]
    sides: dict[str, TableRow]
    rows: list[TableRow]

    @property
    def unknown(self) -> dict[str, float]:
        """Kinds that the backbone does not tell apart on the source's validation side, with its percent there."""
        side = self.sides.get("source_val")
        found = {kind: side.discrimination(kind) for kind in self.kinds} if side else {}
        return {kind: summary.mean for kind, summary in found.items() if summary and summary.mean < KNOWN}


def discrimination(results: Results) -> Discrimination:
    """What is known of a task; empty where its labels name no look-alikes."""
    rows = [row for row in [*make_rows(results), *reference_rows(results).values()] if _kinds([row])]
    by_side = results.source.discrimination
    sides = {
        name: TableRow(name, 0, (), Reference(scores={}, discrimination=by_side[name]))
        for name in SIDES if by_side.get(name)
    }  # fmt: skip
    return Discrimination(_kinds([*sides.values(), *rows]), sides, rows)


def _kinds(rows: Iterable[TableRow]) -> list[str]:
    return sorted({kind for row in rows for source in row.sources for kind in source.discrimination})
