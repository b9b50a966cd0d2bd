"""The page of a study, in one file, in the style of the report; and study.json, all of its numbers."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pipeline.reporting.charts import PALETTE, SYMBOLS, Chart, axes, finished, marker
from pipeline.reporting.page import TEMPLATES, size
from pipeline.reporting.showcase import as_json
from pipeline.study.analysis import Outcome, any_runs, load_outcome
from pipeline.study.cells import cells_of
from pipeline.study.schema import Study
from pipeline.study.view import GOAL, ORDER
from read.files import write_json, write_text

OWN = Path(__file__).parent / "templates"
KEPT = 3  # looks at the held-out videos that a curve over steps needs


def outcomes_of(study: Study, folder: Path, settings: Sequence[str] | None = None) -> list[Outcome]:
    """What came out in every setting in which anything was scored. Raises InputError as `load_outcome`."""
    wanted = [name for name in study.settings if name in (settings or study.settings)]
    cells = cells_of(study, folder, wanted)
    scored = {cell.setting for cell in cells if any_runs(cell)}
    return [load_outcome(study, name, cells) for name in wanted if name in scored]


def write_page(shown: dict[str, Any], outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write index.html and study.json, each whole or not at all."""
    write_json(folder / "study.json", shown)
    write_text(folder / "index.html", render(shown, outcomes))


def render(shown: dict[str, Any], outcomes: Sequence[Outcome]) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader([OWN, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "signed": signed, "number": number, "p": p_value}
    charts = {outcome.setting: [over_shots(outcome, shown), over_steps(outcome, shown)] for outcome in outcomes}
    figures = {
        f"{name}-{i}": chart.figure for name, drawn in charts.items() for i, chart in enumerate(drawn) if chart
    }  # fmt: skip
    return environment.get_template("study.html.j2").render(
        **shown,
        charts=charts,
        goal=GOAL,
        bar=ORDER,
        data={"charts": figures},
        embed=lambda value: Markup(as_json(value)),
        asset=lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )


def signed(value: float | None) -> str:
    """A difference in points."""
    return "n/a" if value is None else f"{value:+.1f}"


def number(value: float | None) -> str:
    """A score."""
    return "n/a" if value is None else f"{value:.1f}"


def p_value(value: float | None) -> str:
    """A p-value: .031."""
    if value is None:
        return "n/a"
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def over_shots(outcome: Outcome, shown: dict[str, Any]) -> Chart | None:
    """Scores by the number of labelled videos, with the intervals of their means."""
    study, figure = outcome.study, go.Figure()
    for i, name in enumerate(study.strategies):
        levels = {k: outcome.level(name, [k], study.metric) for k in study.shots}
        known = {k: scores for k, scores in levels.items() if scores is not None}
        halves = [scores.interval[1] - scores.mean if scores.interval else 0 for scores in known.values()]
        figure.add_scatter(
            x=list(known), y=[scores.mean for scores in known.values()], name=shown["labels"][name],
            mode="lines+markers", marker=marker(_style(i), 9), line={"color": _style(i)[0]},
            error_y={"type": "data", "array": halves, "thickness": 1.2, "width": 4},
        )  # fmt: skip
    if not any(trace.x for trace in figure.data):
        return None
    figure.update_xaxes(type="log", tickvals=study.shots, ticktext=list(map(str, study.shots)))
    axes(figure, "labelled videos", study.metric)
    return finished("Over labelled videos", "Bars are 95 % intervals of each mean, not of differences.", figure)


def over_steps(outcome: Outcome, shown: dict[str, Any]) -> Chart | None:
    """Scores on held-out videos by training step, at the most labelled videos, in the mean over runs."""
    study, figure = outcome.study, go.Figure()
    for i, name in enumerate(study.strategies):
        steps: dict[int, list[float]] = {}
        curves = outcome.curves(name, study.shots[-1])
        for point in (point for curve in curves for point in curve):
            if point.val_score is not None:
                steps.setdefault(point.step, []).append(point.val_score)
        means = {step: fmean(values) for step, values in sorted(steps.items()) if len(values) == len(curves)}
        if len(means) >= KEPT:
            figure.add_scatter(
                x=list(means), y=list(means.values()), name=shown["labels"][name], mode="lines+markers",
                marker=marker(_style(i), 7), line={"color": _style(i)[0]},
            )  # fmt: skip
    if not figure.data:
        return None
    axes(figure, "training step", "score on held-out videos")
    caption = f"With {study.shots[-1]} labelled videos, at the rate that was chosen, mean over runs."
    return finished("Over steps", caption, figure)


def _style(place: int) -> tuple[str, str]:
    return PALETTE[place % len(PALETTE)], SYMBOLS[place % len(SYMBOLS)]
