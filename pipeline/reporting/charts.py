"""The charts, as plotly figures in JSON. Colours of text, grid and paper come from the page's theme when drawn."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import plotly.graph_objects as go

from pipeline.reporting.inputs import CurvePoint, Results
from pipeline.reporting.stats import SeedScores, summarise
from pipeline.reporting.tables import BASELINE, TableRow, kinds, label, make_rows, paired_rows, reference_rows, shots_of

# At least 3:1 against the light and the dark background; the symbols tell them apart without colour.
PALETTE = ("#3a7fd5", "#d9661f", "#1f9d70", "#9b63d3", "#d14b72", "#1596a8", "#a2761c", "#7a8290", "#6b8e23", "#c2549f")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon", "triangle-down", "cross", "pentagon", "x")
DASHES = ("dot", "dash", "longdash", "longdashdot")  # of the rows without a model, in their order
MOST_KINDS = 5  # in one chart; a table shows any number

Styles = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Chart:
    """A figure with its title, what it shows, and its place in the page."""

    id: str
    title: str
    caption: str
    figure: dict


def make_charts(results: Results, look: Styles) -> list[Chart]:
    """All the charts that the results of a task allow, each with an id of its own on the page; `look`: see `styles`."""
    makers: Sequence[Callable[[Results, Styles], Chart | None]] = (_tradeoff, _shots, _kinds, _paired, _curves)
    charts = [chart for make in makers if (chart := make(results, look)) is not None]
    return [replace(chart, id=f"{results.task.name}-{chart.id}") for chart in charts]


def styles(tasks: Sequence[Results]) -> Styles:
    """Colour and symbol by strategy, the same all over the page."""
    rows = [row for results in tasks for row in make_rows(results)]
    names = dict.fromkeys(row.name for row in sorted(rows, key=lambda row: not row.trained))
    return {name: (PALETTE[i % len(PALETTE)], SYMBOLS[i % len(SYMBOLS)]) for i, name in enumerate(names)}


def _tradeoff(results: Results, look: Styles) -> Chart | None:
    rows, metric = _at_most_shots(results)
    if not rows:
        return None
    figure = go.Figure()
    for row in rows:
        summary = row.summary(metric)
        note = f"{row.first.trainable:,} trainable ({row.first.share:.3%})"
        note += f"<br>{metric} {results.task.show(summary.mean, metric)}"
        figure.add_scatter(
            x=[row.first.share * 100], y=[summary.mean], error_y=_bars([summary]), name=row.label, mode="markers",
            marker=_marker(look[row.name], 12), hovertemplate=f"{row.label}: {note}<extra></extra>",
        )  # fmt: skip
    outside = _reference_lines(figure, results, [row.summary(metric) for row in rows])
    _axes(figure, "trainable share (log scale)", metric)
    figure.update_xaxes(type="log", dtick=1, exponentformat="none", ticksuffix=" %")
    caption = f"Mean over seeds with {rows[0].labelled}; bars: 95 % interval of the mean.{outside}"
    return _chart("tradeoff", f"{metric} against trainable share", caption, figure)


def _shots(results: Results, look: Styles) -> Chart | None:
    rows, metric = make_rows(results), results.metric
    counts = shots_of(rows)
    if len(counts) < 2:
        return None
    figure = go.Figure()
    names = list(dict.fromkeys(row.name for row in rows if row.trained))
    for i, name in enumerate(names):
        own = [row for row in rows if row.name == name]
        aside = 1.02 ** (i - (len(names) - 1) / 2)  # so that bars do not hide each other
        summaries = [row.summary(metric) for row in own]
        figure.add_scatter(
            x=[row.shots * aside for row in own], y=[s.mean for s in summaries], error_y=_bars(summaries),
            name=label(name), mode="lines+markers", marker=_marker(look[name], 9), line={"color": look[name][0]},
            hovertemplate=f"{label(name)}: %{{y:.{results.task.digits(metric)}f}}<extra></extra>",
        )  # fmt: skip
    outside = _reference_lines(figure, results, [row.summary(metric) for row in rows if row.trained])
    _axes(figure, "labelled videos that a run was given (shots, log scale)", metric)
    figure.update_xaxes(type="log", tickvals=counts, ticktext=[str(count) for count in counts])
    caption = f"Mean over seeds; bars: 95 % interval of the mean.{outside}"
    return _chart("shots", f"{metric} against labelled videos", caption, figure)


def _kinds(results: Results, look: Styles) -> Chart | None:
    names = kinds(results)
    _, metric = _at_most_shots(results)
    rows = make_rows(results)
    shown = [row for row in rows if not row.trained or row.shots == shots_of(rows)[-1]]
    shown = [*reference_rows(results).values(), *shown]
    if not 2 <= len(names) <= MOST_KINDS:
        return None
    figure = go.Figure()
    for i, kind in enumerate(names):
        have = [row for row in shown if row.summary(metric, kind) is not None]
        summaries = [row.summary(metric, kind) for row in have]
        figure.add_scatter(
            x=[s.mean for s in summaries], y=[row.label for row in have], error_x=_bars(summaries), name=kind,
            mode="markers", marker=_marker((PALETTE[i], SYMBOLS[i]), 10),
        )  # fmt: skip
    _axes(figure, metric, None)
    order = sorted(shown, key=lambda row: row.summary(metric).mean)
    figure.update_yaxes(categoryorder="array", categoryarray=[row.label for row in order])
    caption = f"Rows by their score over all {results.task.samples}; bars: 95 % interval of the mean over seeds."
    return _chart("kinds", f"{metric} by kind of {results.task.sample}", caption, figure)


def _paired(results: Results, look: Styles) -> Chart | None:
    rows, metric = _at_most_shots(results)
    pairs = paired_rows(rows, metric, rows[0].shots) if rows else []
    if not pairs:
        return None
    base = next(row for row in rows if row.name == BASELINE)
    figure = go.Figure()
    signed = f"+.{results.task.digits(metric)}f"
    for row, differences in pairs:
        summary = row.lead(base, metric)
        figure.add_scatter(
            x=list(differences.values()), y=[row.label] * len(differences), mode="markers", showlegend=False,
            marker={"color": look[row.name][0], "symbol": "line-ns-open", "size": 14, "line": {"width": 2}},
            text=[f"seed {seed}" for seed in differences],
            hovertemplate=f"%{{y}}, %{{text}}: %{{x:{signed}}}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[summary.mean], y=[row.label], error_x=_bars([summary]), mode="markers", showlegend=False,
            marker=_marker(look[row.name], 11), hovertemplate=f"%{{y}}, mean: %{{x:{signed}}}<extra></extra>",
        )  # fmt: skip
    _axes(figure, f"difference in {metric} (points)", None)
    figure.update_xaxes(zeroline=True, zerolinewidth=2)
    caption = "Ticks: one seed each. Marker and bar: mean and its 95 % interval, not corrected for several comparisons."
    return _chart("paired", "Difference to the plain adapter, seed by seed", caption, figure)


def _curves(results: Results, look: Styles) -> Chart | None:
    rows, _ = _at_most_shots(results)
    figure = go.Figure()
    for row in rows:
        points = _validation(results.curves[row.name, row.shots, run.seed] for run in row.runs)
        if not points:
            continue
        steps, colour = list(points), look[row.name][0]
        low, high = ([pick(points[step].values) for step in steps] for pick in (min, max))
        figure.add_scatter(
            x=steps + steps[::-1], y=high + low[::-1], fill="toself", fillcolor=_faint(colour), line={"width": 0},
            mode="lines", hoverinfo="skip", showlegend=False, legendgroup=row.name,
        )  # fmt: skip
        figure.add_scatter(
            x=steps, y=[points[step].mean for step in steps], name=row.label, legendgroup=row.name,
            mode="lines", line={"color": colour, "width": 2.5},
        )  # fmt: skip
    if not figure.data:
        return None
    _axes(figure, "training step", "validation score")
    caption = (
        f"With {rows[0].labelled}, at the chosen learning rate. The score chose step and rate. "
        "Line: mean over seeds; band: their range."
    )
    return _chart("curves", "Learning curves", caption, figure)


def _at_most_shots(results: Results) -> tuple[list[TableRow], str]:
    rows = make_rows(results)
    counts = shots_of(rows)
    return [row for row in rows if row.trained and row.shots == counts[-1]], results.metric


def _validation(curves: Iterable[list[CurvePoint]]) -> dict[int, SeedScores]:
    """Validation scores over seeds by step, at the steps that every seed has."""
    tables = [{p.step: p.val_score for p in curve if p.val_score is not None} for curve in curves]
    common = set.intersection(*(set(table) for table in tables))
    return {step: summarise(table[step] for table in tables) for step in sorted(common)}


def _reference_lines(figure: go.Figure, results: Results, summaries: Sequence[SeedScores]) -> str:
    """Draw the references near the data; say where the others are, so that they do not squeeze the scale."""
    metric, top = results.metric, results.task.scale(results.metric)
    untrained = [row for row in make_rows(results) if not row.trained]
    ends = [bound for s in summaries for bound in s.interval or (s.mean,)]
    ends += [row.summary(metric).mean for row in untrained]
    margin = 0.12 * (max(ends) - min(ends)) + top / 100
    low, high = max(0, min(ends) - margin), min(max(top * 1.01, *ends), max(ends) + margin)
    figure.update_yaxes(range=[low, high])
    outside = []
    framing = reference_rows(results)
    dashes = dict(zip(framing, DASHES, strict=False))
    for row in [*framing.values(), *untrained]:
        value = row.summary(metric).mean
        if not low <= value <= high:
            outside.append(f"{row.label} {results.task.show(value, metric)}")
            continue
        figure.add_hline(
            y=value, line={"dash": dashes.get(row.name, "dashdot"), "width": 1.5, "color": "#7a8290"},
            annotation={"text": row.label, "xanchor": "left", "font": {"size": 12}}, annotation_position="top left",
        )  # fmt: skip
    return f" Off the scale: {', '.join(outside)}." if outside else ""


def _bars(summaries: Sequence[SeedScores]) -> dict:
    """Half widths of the intervals; no bar where there is one seed."""
    halves = [s.interval[1] - s.mean if s.interval else None for s in summaries]
    return {"type": "data", "array": halves, "thickness": 1.5, "width": 5, "visible": halves != [None] * len(halves)}


def _marker(style: tuple[str, str], size: int) -> dict:
    return {"color": style[0], "symbol": style[1], "size": size}


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.14)"


def _axes(figure: go.Figure, x: str, y: str | None) -> None:
    figure.update_xaxes(title={"text": x, "standoff": 12}, zeroline=False, automargin=True)
    figure.update_yaxes(title=y, zeroline=False, automargin=True)


def _chart(name: str, title: str, caption: str, figure: go.Figure) -> Chart:
    figure.update_layout(
        template="none", height=400, margin={"l": 56, "r": 16, "t": 16, "b": 64}, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", legend={"orientation": "h", "y": -0.26, "x": 0}, hovermode="closest",
    )  # fmt: skip
    return Chart(name, title, caption, json.loads(figure.to_json()))
