"""The page: everything in one file, nothing fetched."""

from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pipeline.reporting.charts import make_charts, styles
from pipeline.reporting.inputs import Results
from pipeline.reporting.showcase import as_json, showcase
from pipeline.reporting.tables import (
    METRIC_NOTES,
    Row,
    columns,
    kinds,
    label,
    make_rows,
    percent,
    reference_rows,
    shots_of,
)
from pipeline.reporting.takeaways import takeaways

TEMPLATES = Path(__file__).parent / "templates"


def render(results: Results) -> str:
    """The page as HTML."""
    rows = make_rows(results)
    trained = [row for row in rows if row.trained]
    metrics = columns(results)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "rate": rate, "percent": percent, "time": time, "label": label}
    return environment.get_template("page.html.j2").render(
        results=results,
        dataset=results.inputs.dataset,
        metric=results.inputs.metric,
        metrics=metrics,
        metric_notes={name: METRIC_NOTES[name] for name in metrics if name in METRIC_NOTES},
        rows=rows,
        trained=trained,
        untrained=[row for row in rows if not row.trained],
        references=reference_rows(results),
        shots=shots_of(rows),
        strategies=list(dict.fromkeys(row.name for row in trained)),
        seeds=sorted({run.seed for row in trained for run in row.runs}),
        backbone=results.runs[0].backbone,
        total=max((run.total for run in results.runs if not run.trainable), default=results.runs[0].total),
        kinds=kinds(results),
        best=_best(trained, metrics),
        takeaways=takeaways(results),
        tests=_test_side(results),
        styles=styles(results),
        charts=(charts := make_charts(results)),
        figures={chart.id: chart.figure for chart in charts},
        provenance=results.inputs.provenance,
        params=yaml.safe_dump(results.inputs.provenance.params, sort_keys=False, allow_unicode=True),
        showcase=showcase(results),
        embed=lambda value: Markup(as_json(value)),
        asset=lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )


def size(count: int) -> str:
    """Bytes for people: 14.3 kB."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def rate(value: float) -> str:
    """A learning rate: 3e-3."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def time(seconds: float) -> str:
    """A duration for people: 1 min 05 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _best(trained: list[Row], metrics: list[str]) -> set[tuple[int, str, str]]:
    """(shots, metric, strategy) of the highest mean among what was trained with as many videos."""
    best = set()
    for shots in shots_of(trained):
        for metric in metrics:
            rivals = [(row.summary(metric).mean, row.name) for row in trained if row.shots == shots]
            best.add((shots, metric, max(rivals)[1]))
    return best


def _test_side(results: Results) -> dict:
    """How many videos and queries the scores rest on, and what is missing."""
    videos = sorted({run.n_videos for run in results.runs})
    named = {a.vid for a in results.annotations if a.split == "test"}
    queries = {vid: sum(a.vid == vid for a in results.annotations) for vid in results.missing}
    return {
        "videos": _span(videos),
        "queries": _span(sorted({run.n_queries for run in results.runs})),
        "named": len(named),
        "lost": len(named & results.missing.keys()),
        "all": len(results.videos) + len(results.missing),
        "missing": [
            {"vid": vid, "reason": reason, "queries": queries[vid], "test": vid in named}
            for vid, reason in sorted(results.missing.items())
        ],
    }


def _span(values: list[int]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
