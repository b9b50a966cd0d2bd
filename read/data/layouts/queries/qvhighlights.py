"""QVHighlights (Lei et al. 2021), in the form that `read.data.annotations` took from it.

The rows of the test side were published without ground truth at first (`highlight_test_release.jsonl`): they are
counted, not used. A row may have any number of windows; all are kept.
"""

from collections import Counter
from typing import Any

WITHOUT_TRUTH = "queries without ground truth, not used"


def convert(row: dict[str, Any], notes: Counter[str]) -> dict[str, Any] | None:
    """The row itself; None without windows."""
    if "relevant_windows" not in row and "query" in row:
        notes[WITHOUT_TRUTH] += 1
        return None
    return row
