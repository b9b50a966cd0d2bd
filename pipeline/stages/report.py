"""Stage 8: one self-contained page and flat tables of the scores, of every task.

Writes index.html (works from the file system, no network), scores.json and scores.csv, all scores in one table,
takeaways.json, the sentences that the page states first of each task, and metrics/, the table of a row per strategy
that `dvc metrics show` draws.
"""

import csv
import io
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

from pipeline import paths
from pipeline.cli import run, settings_parser
from pipeline.provenance import gather, write_times
from pipeline.reporting.exports import csv_rows, flat_scores, metric_files
from pipeline.reporting.grounding import GROUNDING
from pipeline.reporting.inputs import Inputs, load_report
from pipeline.reporting.page import render
from pipeline.reporting.records import Provenance
from pipeline.reporting.summarization import SUMMARIZATION
from pipeline.reporting.takeaways import takeaways
from read.files import atomic_path, read_json, write_json, write_text
from read.metrics.protocol import get_protocol

TASKS = {task.name: task for task in (GROUNDING, SUMMARIZATION)}


def build_report(inputs: Inputs, out: Path) -> None:
    """Write index.html, scores.json, scores.csv, takeaways.json and metrics/ into `out`; each whole or not at all.

    Raises:
        InputError: a result is absent or does not fit the others; the message names the file.
    """
    report = load_report(inputs, TASKS)
    told = {results.task.name: takeaways(results) for results in report.tasks}
    page = render(report, told)
    lines = [line for results in report.tasks for line in csv_rows(results)]
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    with atomic_path(out / "metrics") as draft:
        for name, scores in (item for results in report.tasks for item in metric_files(results).items()):
            write_json(draft / name, scores)
    write_json(out / "scores.json", {k: v for results in report.tasks for k, v in flat_scores(results).items()})
    write_text(out / "scores.csv", table.getvalue())
    write_json(out / "takeaways.json", {task: [asdict(each) for each in own] for task, own in told.items()})
    write_text(out / "index.html", page)


def metric_of(task: str, settings: SimpleNamespace) -> str:
    """The metric of a task that params.yaml names, or that of the dataset's benchmark."""
    named = getattr(settings.report.metrics, task)
    if named != "auto":
        return named
    return get_protocol(read_json(paths.raw(settings.dataset) / "dataset.json")["metric"]).primary


def main() -> None:
    """Command line of the stage."""
    settings = settings_parser(__doc__).parse_args().settings
    inputs = Inputs(
        dataset=settings.dataset,
        runs=paths.RUNS / settings.dataset,
        raw=paths.raw(settings.dataset),
        metrics={task: metric_of(task, settings) for task in settings.task},
        examples=settings.report.examples,
        panels=settings.report.panels,
        clip_len=settings.clip_len,
        provenance=Provenance.model_validate(gather(settings)),
        features=paths.features(settings.dataset) / "features.json",
        domain=settings.domain,
        heard=paths.heard(settings.dataset),
    )
    build_report(inputs, paths.REPORT)
    write_times(Path("logs/times.json"))


if __name__ == "__main__":
    run(main)
