"""The primary metric against the number of labelled videos, where there are several."""

import plotly.graph_objects as go

from pipeline.reporting.charts import Chart, Styles, axes, bars, finished, marker, reference_lines
from pipeline.reporting.inputs import Results
from pipeline.reporting.tables import frame_rows, label, make_rows, shots_of


def draw(results: Results, look: Styles) -> Chart | None:
    """See `pipeline.reporting.charts`."""
    rows, metric = make_rows(results), results.metric
    counts = shots_of(rows)
    if len(counts) < 2:
        return None
    figure = go.Figure()
    given = [row for row in rows if row.shots]
    names = list(dict.fromkeys(row.name for row in sorted(given, key=lambda row: not row.trained)))
    for i, name in enumerate(names):
        own = [row for row in given if row.name == name]
        aside = 1.02 ** (i - (len(names) - 1) / 2)  # so that bars do not hide each other
        summaries = [row.summary(metric) for row in own]
        figure.add_scatter(
            x=[row.shots * aside for row in own], y=[s.mean for s in summaries], error_y=bars(summaries),
            name=label(name), mode="lines+markers", marker=marker(look[name], 9),
            line={"color": look[name][0], "dash": "solid" if own[0].trained else "dash"},
            hovertemplate=f"{label(name)}: %{{y:.{results.task.digits(metric)}f}}<extra></extra>",
        )  # fmt: skip
    outside = reference_lines(figure, results, frame_rows(results, 0), [row.summary(metric) for row in given])
    axes(figure, "labelled videos that a run was given (shots, log scale)", metric)
    figure.update_xaxes(type="log", tickvals=counts, ticktext=[str(count) for count in counts])
    caption = f"Mean over seeds; bars: 95 % interval of the mean.{outside}"
    return finished(f"{metric} against labelled videos", caption, figure)


PANEL = draw
