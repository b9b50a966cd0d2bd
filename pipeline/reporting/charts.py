"""The charts, as plotly figures in JSON, and what they share: each is a file in `panels/`.

A panel is given the results of a task and the page's styles. Colours of text, grid and paper come from the page's theme
when drawn.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import plotly.graph_objects as go

from pipeline.plugins import PANELS
from pipeline.reporting.inputs import Results
from pipeline.reporting.stats import SeedScores
from pipeline.reporting.tables import TableRow, make_rows, reference_rows, shots_of

# At least 3:1 against the light and the dark background; the symbols tell them apart without colour.
PALETTE = ("#3a7fd5", "#d9661f", "#1f9d70", "#9b63d3", "#d14b72", "#1596a8", "#a2761c", "#7a8290", "#6b8e23", "#c2549f")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "triangle-down", "cross", "pentagon", "x")
PLACES = ("top left", "top right", "bottom left", "bottom right")  # of labels, in turn where lines lie close together
NEAR = 0.07  # of an axis: lines as close hide each other's labels
DASHES = ("dot", "dash", "longdash", "2px 6px", "14px 4px 2px 4px", "longdashdot")  # of rows without a model, in order

Styles = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Chart:
    """A figure with its title and what it shows; `id` is its place in the page."""

    title: str
    caption: str
    figure: dict
    id: str = ""


def make_charts(results: Results, look: Styles, panels: Sequence[str]) -> list[Chart]:
    """The charts that the results of a task allow, of some panels, each with an id of its own; `look`: see `styles`."""
    charts = [(name, chart) for name in panels if (chart := PANELS.load(name)(results, look)) is not None]
    return [replace(chart, id=f"{results.task.name}-{name}") for name, chart in charts]


def styles(tasks: Sequence[Results]) -> Styles:
    """Colour and symbol by strategy, the same all over the page."""
    rows = [row for results in tasks for row in make_rows(results)]
    names = dict.fromkeys(row.name for row in sorted(rows, key=lambda row: not row.trained))
    return {name: (PALETTE[i % len(PALETTE)], SYMBOLS[i % len(SYMBOLS)]) for i, name in enumerate(names)}


def at_most_shots(results: Results) -> tuple[list[TableRow], str]:
    """The trained rows at the largest number of shots, and the primary metric."""
    rows = make_rows(results)
    counts = shots_of(rows)
    return [row for row in rows if row.trained and row.shots == counts[-1]], results.metric


def reference_lines(
    figure: go.Figure, results: Results, framing: Sequence[TableRow], summaries: Sequence[SeedScores]
) -> str:
    """Draw rows near the data as lines; say where the others are, so that they do not squeeze the scale.

    What needs no training is always near: it is what training has to surpass.
    """
    metric, top = results.metric, results.task.scale(results.metric)
    ends = [bound for s in summaries for bound in s.interval or (s.mean,)]
    ends += [row.summary(metric).mean for row in framing if row.runs or row.name in results.task.plain]
    margin = 0.12 * (max(ends) - min(ends)) + top / 100
    low, high = max(0, min(ends) - margin), min(max(top * 1.01, *ends), max(ends) + margin)
    figure.update_yaxes(range=[low, high])
    outside, drawn = [], []
    dashes = dict(zip(reference_rows(results), DASHES, strict=False))
    for row in framing:
        value = row.summary(metric).mean
        if not low <= value <= high:
            outside.append(f"{row.label} {results.task.show(value, metric)}")
            continue
        place = PLACES[sum(abs(value - other) < NEAR * (high - low) for other in drawn) % len(PLACES)]
        drawn.append(value)
        figure.add_hline(
            y=value, line={"dash": dashes.get(row.name, "dashdot"), "width": 1.5, "color": "#7a8290"},
            annotation={"text": row.label, "font": {"size": 12}}, annotation_position=place,
        )  # fmt: skip
    return f" Off the scale: {', '.join(outside)}." if outside else ""


def bars(summaries: Sequence[SeedScores]) -> dict:
    """Half widths of the intervals; no bar where there is one seed."""
    halves = [s.interval[1] - s.mean if s.interval else None for s in summaries]
    return {"type": "data", "array": halves, "thickness": 1.5, "width": 5, "visible": halves != [None] * len(halves)}


def marker(style: tuple[str, str], size: int) -> dict:
    """A strategy's marker."""
    return {"color": style[0], "symbol": style[1], "size": size}


def faint(colour: str) -> str:
    """A colour to fill a band with."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.14)"


def axes(figure: go.Figure, x: str, y: str | None) -> None:
    """Name the axes."""
    figure.update_xaxes(title={"text": x, "standoff": 12}, zeroline=False, automargin=True)
    figure.update_yaxes(title=y, zeroline=False, automargin=True)


def finished(title: str, caption: str, figure: go.Figure) -> Chart:
    """A chart of a figure, in the page's layout."""
    figure.update_layout(
        template="none", height=400, margin={"l": 56, "r": 16, "t": 16, "b": 64}, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", legend={"orientation": "h", "y": -0.26, "x": 0}, hovermode="closest",
    )  # fmt: skip
    return Chart(title, caption, json.loads(figure.to_json()))
