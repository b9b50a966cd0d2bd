"""Sentences about what may be wrong with the numbers: training that was cut short or did nothing, odd predictions."""

from collections.abc import Callable

from pipeline.reporting.tables import DOUBTS, TableRow, warnings_of
from pipeline.reporting.view import Takeaway, View, listed


def cut_short(view: View) -> Takeaway | None:
    """Runs that a wider grid or more steps might have lifted, of all."""
    total = sum(len(row.runs) for row in view.trained)
    counts = {what: sum(row.count(what) for row in view.trained) for what in (*DOUBTS, "cut_short")}
    if not (flagged := counts.pop("cut_short")):
        return None
    parts = [f"{DOUBTS[what]} in {count}" for what, count in counts.items() if count]
    rows = [f"{row.label} {row.count('cut_short')}" for row in view.ranked if row.count("cut_short")]
    return Takeaway(
        f"{flagged} of {total} runs may be cut short",
        f"{listed(parts).capitalize()}; by strategy: {listed(rows)}. A wider grid or more steps could change these "
        "scores.",
        caution=True,
    )


def untouched(view: View) -> Takeaway | None:
    """Runs whose training was found no better than none."""
    return _runs_told(
        view, "Untuned state kept", lambda row: row.count("untouched"),
        "On the labelled videos that choose, no step was better than the state before training, or not by more than "
        "one standard error there: what is scored is the model untuned.",
    )  # fmt: skip


def warned(view: View) -> Takeaway | None:
    """Predictions that look wrong."""
    found = warnings_of([*view.references.values(), *view.everything])
    if not found:
        return None
    (who, sentence), more = found[0], len(found) - 1
    rest = f" {more} more stand{'s' * (more == 1)} below the scores." if more else ""
    return Takeaway(f"{len(found)} warning{'s' * (more > 0)}", f"{who}: {sentence.rstrip('.')}.{rest}", caution=True)


def _runs_told(view: View, title: str, count: Callable[[TableRow], int], text: str) -> Takeaway | None:
    parts = [f"{row.label} in {count(row)} of {len(row.runs)} runs" for row in view.ranked if count(row)]
    return Takeaway(title, f"{listed(parts)}. {text}", caution=True) if parts else None


def alignment(view: View) -> Takeaway | None:
    """How far apart an alignment loss has put a sentence's own video from others."""
    found = {row.label: pair for row in view.trained if (pair := row.alignment)}
    if not found:
        return None
    parts = [f"{name} {own:.2f} and {other:.2f}" for name, (own, other) in found.items()]
    return Takeaway(
        "What the alignment has drawn together",
        "Mean cosine of a sentence’s states with those of its own video, and with other samples’ videos, after "
        f"training: {'; '.join(parts)}. Where both are near 1, all is drawn together, and nothing told apart.",
    )
