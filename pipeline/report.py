"""Stage 8: one self-contained page and flat tables of the scores.

Writes index.html (works from the file system, no network), scores.json for `dvc metrics show`, and scores.csv.
"""

import csv
import io
from pathlib import Path

from pipeline import paths
from pipeline.cli import run, settings_parser
from pipeline.provenance import gather
from pipeline.reporting.inputs import Inputs, Provenance, load_results
from pipeline.reporting.page import render
from pipeline.reporting.tables import csv_rows, flat_scores
from read.files import write_json, write_text


def build_report(inputs: Inputs, out: Path) -> None:
    """Write index.html, scores.json and scores.csv into `out`; each whole or not at all.

    Raises:
        InputError: a result is absent or does not fit the others; the message names the file.
    """
    results = load_results(inputs)
    lines = csv_rows(results)
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_json(out / "scores.json", flat_scores(results))
    write_text(out / "scores.csv", table.getvalue())
    write_text(out / "index.html", render(results))


def main() -> None:
    """Command line of the stage."""
    settings = settings_parser(__doc__).parse_args().settings
    inputs = Inputs(
        dataset=settings.dataset,
        runs=Path("results/runs", settings.dataset),
        raw=paths.raw(settings.dataset),
        metric=settings.report.metric,
        examples=settings.report.examples,
        clip_len=settings.clip_len,
        provenance=Provenance.model_validate(gather(settings)),
    )
    build_report(inputs, Path("results/report"))


if __name__ == "__main__":
    run(main)
