"""Differences to the plain adapter, seed by seed."""

import plotly.graph_objects as go

from pipeline.reporting.charts import Chart, Styles, at_most_shots, axes, bars, finished, marker
from pipeline.reporting.inputs import Results
from pipeline.reporting.tables import BASELINE, paired_rows


def draw(results: Results, look: Styles) -> Chart | None:
    """See `pipeline.reporting.charts`."""
    rows, metric = at_most_shots(results)
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
            x=[summary.mean], y=[row.label], error_x=bars([summary]), mode="markers", showlegend=False,
            marker=marker(look[row.name], 11), hovertemplate=f"%{{y}}, mean: %{{x:{signed}}}<extra></extra>",
        )  # fmt: skip
    axes(figure, f"difference in {metric} (points)", None)
    figure.update_xaxes(zeroline=True, zerolinewidth=2)
    caption = "Ticks: one seed each. Marker and bar: mean and its 95 % interval, not corrected for several comparisons."
    return finished("Difference to the plain adapter, seed by seed", caption, figure)


PANEL = draw
