"""The primary metric by kind of sample, where there are a few."""

import plotly.graph_objects as go

from pipeline.reporting.charts import PALETTE, SYMBOLS, Chart, Styles, at_most_shots, axes, bars, finished, marker
from pipeline.reporting.inputs import Results
from pipeline.reporting.tables import frame_rows, kinds

MOST_KINDS = 5  # in one chart; a table shows any number


def draw(results: Results, look: Styles) -> Chart | None:
    """See `pipeline.reporting.charts`."""
    names = kinds(results)
    trained, metric = at_most_shots(results)
    shown = [*frame_rows(results, trained[0].shots if trained else 0), *trained]
    if not 2 <= len(names) <= MOST_KINDS:
        return None
    figure = go.Figure()
    for i, kind in enumerate(names):
        have = [row for row in shown if row.summary(metric, kind) is not None]
        summaries = [row.summary(metric, kind) for row in have]
        figure.add_scatter(
            x=[s.mean for s in summaries], y=[row.label for row in have], error_x=bars(summaries), name=kind,
            mode="markers", marker=marker((PALETTE[i], SYMBOLS[i]), 10),
        )  # fmt: skip
    axes(figure, metric, None)
    order = sorted(shown, key=lambda row: row.summary(metric).mean)
    figure.update_yaxes(categoryorder="array", categoryarray=[row.label for row in order])
    caption = f"Rows by their score over all {results.task.samples}; bars: 95 % interval of the mean over seeds."
    return finished(f"{metric} by kind of {results.task.sample}", caption, figure)


PANEL = draw
