"""The page: everything in one file, nothing fetched."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from pipeline.reporting.charts import Styles, make_charts, styles
from pipeline.reporting.discrimination import KNOWN, SIDES, discrimination
from pipeline.reporting.inputs import Report, Results
from pipeline.reporting.showcase import as_json, embedded_videos
from pipeline.reporting.tables import (
    AVERAGE,
    ZERO_SHOT,
    best,
    columns,
    kinds,
    label,
    make_rows,
    percent,
    reference_rows,
    shots_of,
    warnings_of,
)
from pipeline.reporting.view import Takeaway
from read.data import reported_side

TEMPLATES = Path(__file__).parent / "templates"
FEW_SAMPLES = 50  # on the test side, below which shares are told as counts
FEW_SEEDS = 3  # up to which a comparison is called small
METRICS_BY_KIND = 3  # shown for each of two kinds; for more of them, as in the papers' tables, the primary one


def render(report: Report, told: Mapping[str, Sequence[Takeaway]]) -> str:
    """The page as HTML; `told` is what it states first of each task."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "rate": rate, "percent": percent, "label": label}
    look = styles(report.tasks)
    views = {results.task.name: view(results, look, told[results.task.name]) for results in report.tasks}
    section = environment.get_template("task.html.j2")
    showcases = {name: shown["showcase"] for name, shown in views.items()}
    trained = [row for shown in views.values() for row in shown["trained"]]
    return environment.get_template("page.html.j2").render(
        dataset=report.dataset.name or report.inputs.dataset,
        synthetic=report.dataset.synthetic,
        tasks=[results.task for results in report.tasks],
        sections=[Markup(section.render(**shown)) for shown in views.values()],
        strategies=list(dict.fromkeys(row.name for row in trained)),
        labelled=list(dict.fromkeys(row.labelled for row in sorted(trained, key=lambda row: row.shots))),
        seeds=sorted({run.seed for row in trained for run in row.runs}),
        small=small(report.tasks),
        tests=[shown["tests"] for shown in views.values()],
        missing=_missing(report),
        videos=report.total,
        provenance=report.inputs.provenance,
        params=yaml.safe_dump(report.inputs.provenance.params, sort_keys=False, allow_unicode=True),
        data={
            "charts": {chart.id: chart.figure for shown in views.values() for chart in shown["charts"]},
            "examples": showcases,
            "videos": embedded_videos(report, showcases.values()),
            "styles": look,
        },
        embed=lambda value: Markup(as_json(value)),
        asset=lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )


def view(results: Results, look: Styles, told: Sequence[Takeaway]) -> dict[str, Any]:
    """What the section of a task shows."""
    rows = make_rows(results)
    trained = [row for row in rows if row.trained]
    references = reference_rows(results).values()
    above = [row for row in references if row.name in results.task.above]
    untrained = [row for row in rows if not row.trained]
    task, metrics, apart = results.task, columns(results), kinds(results)
    samples = min(run.n_samples for run in results.runs)
    few = samples if samples < FEW_SAMPLES else 0
    by_kind = metrics[:METRICS_BY_KIND] if len(apart) == 2 else [results.metric]
    adapted = next((row for row in rows if row.name == ZERO_SHOT), (trained or rows)[0]).first
    frames = task.below | task.plain | task.above
    return {
        "task": task,
        "results": results,
        "metric": results.metric,
        "metrics": metrics,
        "metric_notes": {name: task.notes[name] for name in metrics if name in task.notes},
        "reference_notes": {row.label: frames[row.name] for row in [*references, *untrained] if row.name in frames},
        "warnings": warnings_of([*references, *rows]),
        "trained": trained,
        "below": [*(row for row in references if row not in above), *untrained],
        "above": above,
        "shots": shots_of(rows),
        "labelled": [next(row.labelled.split()[0] for row in trained if row.shots == k) for k in shots_of(rows)],
        "few": few,
        "count": lambda share: f" {round(share * few / 100, 1):g} of {few}",
        "test_side": any(row.draws(results.metric) is not None for row in trained),
        "seeds": sorted({run.seed for row in trained for run in row.runs}),
        "backbone": adapted.backbone,
        "total": adapted.total,
        "apart": discrimination(results),
        "sides": SIDES,
        "known": KNOWN,
        "kinds": [*apart, AVERAGE] if len(apart) > 1 else [],
        "by_kind": by_kind,
        "best": best(trained, metrics, [None]) | best(trained, by_kind, [*apart, AVERAGE]),
        "takeaways": told,
        "tests": _test_side(results),
        "styles": look,
        "charts": make_charts(results, look, results.inputs.panels),
        "showcase": task.showcase(results),
    }


def small(tasks: Sequence[Results]) -> bool:
    """Whether a task was run with but one number of labelled videos and a few seeds, too few to order strategies by."""
    runs = [[run for run in results.runs if run.trainable] for results in tasks]
    return any(len({run.shots for run in own}) == 1 and len({run.seed for run in own}) <= FEW_SEEDS for own in runs)


def size(count: int) -> str:
    """Bytes for people: 14.3 kB."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def rate(value: float) -> str:
    """A learning rate: 3e-3."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _test_side(results: Results) -> dict[str, Any]:
    """How many samples and videos the scores rest on, of how many that the labels name for the test side."""
    side, domain = reported_side({label.split for label in results.labels}), results.inputs.domain
    named = {
        label.vid
        for label in results.labels
        if side and label.split == side and domain in (None, getattr(label, "kind", None))
    }
    return {
        "task": results.task,
        "samples": _span({run.n_samples for run in results.runs}),
        "videos": _span({run.n_videos for run in results.runs}),
        "named": len(named),
        "lost": max(0, len(named) - min(run.n_videos for run in results.runs)),
    }


def _missing(report: Report) -> list[dict[str, Any]]:
    """Videos that could not be had, each with how many samples of each task are lost and the side they were on."""
    sides = {label.vid: label.split for results in report.tasks for label in results.labels if label.split}
    counts = [Counter(label.vid for label in results.labels) for results in report.tasks]
    return [
        {"vid": vid, "reason": reason, "side": sides.get(vid, ""), "lost": [count[vid] for count in counts]}
        for vid, reason in sorted(report.missing.items())
    ]


def _span(values: set[int]) -> str:
    return f"{min(values)}" if len(values) == 1 else f"{min(values)} to {max(values)}"
