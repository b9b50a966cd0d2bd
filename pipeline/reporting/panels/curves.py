"""Validation scores by training step."""

from collections.abc import Iterable

import plotly.graph_objects as go

from pipeline.reporting.charts import Chart, Styles, at_most_shots, axes, faint, finished
from pipeline.reporting.inputs import CurvePoint, Results
from pipeline.reporting.stats import SeedScores, summarise


def draw(results: Results, look: Styles) -> Chart | None:
    """See `pipeline.reporting.charts`."""
    rows, _ = at_most_shots(results)
    figure = go.Figure()
    for row in rows:
        points = _validation(results.curves[row.name, row.shots, run.seed] for run in row.runs)
        if not points:
            continue
        steps, colour = list(points), look[row.name][0]
        low, high = ([pick(points[step].values) for step in steps] for pick in (min, max))
        figure.add_scatter(
            x=steps + steps[::-1], y=high + low[::-1], fill="toself", fillcolor=faint(colour), line={"width": 0},
            mode="lines", hoverinfo="skip", showlegend=False, legendgroup=row.name,
        )  # fmt: skip
        figure.add_scatter(
            x=steps, y=[points[step].mean for step in steps], name=row.label, legendgroup=row.name,
            mode="lines", line={"color": colour, "width": 2.5},
        )  # fmt: skip
    if not figure.data:
        return None
    axes(figure, "training step", "validation score")
    caption = (
        f"With {rows[0].labelled}, at the chosen learning rate. The score chose step and rate. "
        "Line: mean over seeds; band: their range."
    )
    if aligned := [f"{row.label} {row.alignment[0]:.2f} and {row.alignment[1]:.2f}" for row in rows if row.alignment]:
        caption += f" Cosine of a sentence’s states with its own video’s, and with others’: {'; '.join(aligned)}."
    return finished("Learning curves", caption, figure)


def _validation(curves: Iterable[list[CurvePoint]]) -> dict[int, SeedScores]:
    """Validation scores over seeds by step, at the steps that every seed has."""
    tables = [{p.step: p.val_score for p in curve if p.val_score is not None} for curve in curves]
    common = set.intersection(*(set(table) for table in tables))
    return {step: summarise(table[step] for table in tables) for step in sorted(common)}


PANEL = draw
