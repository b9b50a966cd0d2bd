"""Differences to the plain adapter, seed by seed."""

import plotly.graph_objects as go

from pipeline.reporting.charts import Chart, Styles, at_most_shots, axes, bars, finished, marker
from pipeline.reporting.comparisons import Pairs, pairwise
from pipeline.reporting.inputs import Results
from pipeline.reporting.tables import BASELINE, TableRow, paired_rows


def draw(results: Results, look: Styles) -> Chart | None:
    """See `pipeline.reporting.charts`."""
    rows, metric = at_most_shots(results)
    pairs = paired_rows(rows, metric, rows[0].shots) if rows else []
    if not pairs:
        return None
    base = next(row for row in rows if row.name == BASELINE)
    tested = pairwise(rows, metric)
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
    names = [row.label for row, _ in pairs]
    told = [f"{row.label}<br>{_verdict(tested, row, base)}" for row, _ in pairs]
    figure.update_yaxes(tickvals=names, ticktext=told)
    figure.update_xaxes(zeroline=True, zerolinewidth=2)
    caption = (
        "Ticks: one seed each. Marker and bar: mean and its 95 % interval, not corrected for several comparisons; "
        f"p is, for {tested.told}, by Holm’s method."
    )
    return finished("Difference to the plain adapter, seed by seed", caption, figure)


def _verdict(tested: Pairs, row: TableRow, base: TableRow) -> str:
    """The corrected p-value as text, and what it says."""
    if (p := tested.p(row, base)) is None:
        return ""
    told = "p < .001" if p < 0.001 else f"p {p:.3f}".replace("0.", ".")
    return f"{told}, {'told apart' if tested.apart(row, base) else 'not told apart'}"


PANEL = draw
