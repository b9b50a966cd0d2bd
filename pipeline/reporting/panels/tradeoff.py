"""The primary metric against the share of the model that trains."""

import plotly.graph_objects as go

from pipeline.reporting.charts import Chart, Styles, at_most_shots, axes, bars, finished, marker, reference_lines
from pipeline.reporting.inputs import Results
from pipeline.reporting.tables import frame_rows


def draw(results: Results, look: Styles) -> Chart | None:
    """See `pipeline.reporting.charts`."""
    rows, metric = at_most_shots(results)
    if not rows:
        return None
    figure = go.Figure()
    for row in rows:
        summary = row.summary(metric)
        note = f"{row.first.trainable:,} trainable ({row.first.share:.3%})"
        note += f"<br>{metric} {results.task.show(summary.mean, metric)}"
        figure.add_scatter(
            x=[row.first.share * 100], y=[summary.mean], error_y=bars([summary]), name=row.label, mode="markers",
            marker=marker(look[row.name], 12), hovertemplate=f"{row.label}: {note}<extra></extra>",
        )  # fmt: skip
    framing = frame_rows(results, rows[0].shots)
    outside = reference_lines(figure, results, framing, [row.summary(metric) for row in rows])
    axes(figure, "trainable share (log scale)", metric)
    figure.update_xaxes(type="log", dtick=1, exponentformat="none", ticksuffix=" %")
    caption = f"Mean over seeds with {rows[0].labelled}; bars: 95 % interval of the mean.{outside}"
    return finished(f"{metric} against trainable share", caption, figure)


PANEL = draw
