"""The scores for other programs: flat tables, and a small file a row for `dvc metrics show`."""

from collections.abc import Iterator
from itertools import product

from pipeline.reporting.discrimination import discrimination
from pipeline.reporting.inputs import Results
from pipeline.reporting.stats import SeedScores
from pipeline.reporting.tables import AVERAGE, TableRow, columns, kinds, make_rows, reference_rows

DISCRIMINATION = "discrimination"  # as the name of a metric
WARNINGS = "warnings"  # a key of metric files, where there are any: how many runs have some


def flat_scores(results: Results) -> dict[str, float]:
    """`<task>/<strategy>/k<shots>/<metric>` and `.../std`, in one flat table; `discrimination/<kind>` as a metric."""
    flat = {}
    for row in [*make_rows(results), *reference_rows(results).values()]:
        for metric in columns(results):
            summary = row.summary(metric)
            stem = "/".join([results.task.name, row.name, *([f"k{row.shots}"] if row.runs else []), metric])
            flat[stem] = round(summary.mean, 4)
            if summary.std is not None:
                flat[f"{stem}/std"] = round(summary.std, 4)
    for row, kind, summary in _discriminations(results):
        stem = "/".join([results.task.name, row.name, *([f"k{row.shots}"] if row.runs else []), DISCRIMINATION, kind])
        flat[stem] = round(summary.mean, 4)
    return flat


def metric_files(results: Results) -> dict[str, dict[str, float]]:
    """`<task>/<strategy>-k<shots>.json` -> its scores, the primary first: a row each of `dvc metrics show`."""
    files = {}
    for row in [*make_rows(results), *reference_rows(results).values()]:
        scores = files[_file(results, row)] = {}
        for metric in columns(results):
            summary = row.summary(metric)
            scores[metric] = round(summary.mean, 4)
            if summary.std is not None:
                scores[f"{metric} std"] = round(summary.std, 4)
        if row.warned:
            scores[WARNINGS] = row.warned
    for row, kind, summary in _discriminations(results):
        if (name := _file(results, row)) in files:  # the backbone on the source has no score of the target
            files[name][f"{DISCRIMINATION} {kind}"] = round(summary.mean, 4)
    return files


def _file(results: Results, row: TableRow) -> str:
    return f"{results.task.name}/{row.name}{f'-k{row.shots}' if row.shots else ''}.json"


def csv_rows(results: Results) -> list[dict]:
    """One line per row, kind and metric; an empty cell is not applicable."""
    apart = kinds(results)
    found = [
        (row, kind or "all", metric, row.summary(metric, kind))
        for row in [*make_rows(results), *reference_rows(results).values()]
        for kind in [None, *apart, *([AVERAGE] if apart else [])]
        for metric in row.sources[0].scores
    ]
    found += [(row, kind, DISCRIMINATION, summary) for row, kind, summary in _discriminations(results)]
    return [_csv_row(results, row, kind, metric, summary) for row, kind, metric, summary in found if summary]


def _csv_row(results: Results, row: TableRow, kind: str, metric: str, summary: SeedScores) -> dict:
    sizes = ("trainable", "share", "adapter_bytes")
    low, high = summary.interval or ("", "")
    return (
        {"task": results.task.name, "strategy": row.name, "shots": row.shots if row.runs else ""}
        | {"seeds": len(row.runs) or "", "kind": kind, "metric": metric, "mean": summary.mean}
        | {"std": "" if summary.std is None else summary.std, "low": low, "high": high}
        | {name: getattr(row.first, name) if row.runs else "" for name in sizes}
    )


def _discriminations(results: Results) -> Iterator[tuple[TableRow, str, SeedScores]]:
    """Of the backbone on the source, and of every row, by kind."""
    table = discrimination(results)
    for row, kind in product([*table.sides.values(), *table.rows], table.kinds):
        if summary := row.discrimination(kind):
            yield row, kind or "all", summary
