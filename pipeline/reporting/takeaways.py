"""Sentences computed from the numbers: each states a measured value with its interval and claims nothing beyond it."""

from collections.abc import Callable, Sequence

from pipeline.reporting.cautions import alignment, cut_short, untouched, warned
from pipeline.reporting.comparisons import corrected
from pipeline.reporting.inputs import Results
from pipeline.reporting.stats import ALPHA
from pipeline.reporting.tables import BASELINE, SUBJECT_ONLY, kinds, make_rows, percent, reference_rows, shots_of
from pipeline.reporting.view import Takeaway, View, listed, seeds_of

CONTROL = "_control"  # ends the name of a strategy that another is held against
FEW_KINDS = 4  # that a sentence can list


def takeaways(results: Results) -> list[Takeaway]:
    """What the page states first of a task."""
    rows = make_rows(results)
    if not (shots := shots_of(rows)):
        return []
    trained = [row for row in rows if row.trained and row.shots == shots[-1]]
    view = View(results.task, results.metric, trained, rows, reference_rows(results), kinds(results))
    makers: Sequence[Callable[[View], Takeaway | None]] = (
        against_plain, _within_chance, _highest, against_control, _not_above, _budget, _range, beyond_the_subject,
        _kinds, _shots, cut_short, untouched, alignment, warned,
    )  # fmt: skip
    return [takeaway for make in makers if (takeaway := make(view)) is not None]


def against_plain(view: View) -> Takeaway | None:
    """Whether the best strategy was worth its training."""
    best, gaps = view.ranked[0], {}
    for row in view.plain:
        if gap := best.lead(row, view.metric):
            gaps[row.quoted] = gap
    if not gaps:
        return None
    p_values = corrected(gaps)
    level = [name for name, gap in gaps.items() if gap.mean <= 0 or p_values.get(name, 0.0) >= ALPHA]
    told = "; ".join(f"to {name} {view.difference(gap)}" for name, gap in gaps.items())
    start = f"The best strategy, {best.label}, has {view.spread(best)} of {view.metric} with {view.labelled}"
    differences = f"Difference, seed by seed and on the same test videos: {told}."
    if len(p_values) > 1:
        differences += f" What is shown is judged by p-values that are corrected for these {len(p_values)} comparisons."
    if level:
        return Takeaway(
            f"Training is not shown to beat {listed(level)}",
            f"{start}. That is not shown to be better than {listed(level)}, which need{'s' * (len(level) == 1)} no "
            f"training. {differences}",
            caution=True,
        )
    return Takeaway(f"Better than {listed(list(gaps))}", f"{start}, above what needs no training. {differences}")


def _within_chance(view: View) -> Takeaway | None:
    """What has to be said before any order: it may be one of chance."""
    if not view.chance:
        return None
    best, names = view.ranked[0], listed([f"{row.label} ({view.number(view.mean(row))})" for row in view.chance])
    return Takeaway(
        f"Not told apart from {listed([row.label for row in view.chance])}",
        f"The best strategy, {best.label}, has {view.spread(best)} of {view.metric} with {view.labelled}, which does "
        f"not lie above {names}. The order of the strategies says nothing.",
        caution=True,
    )


def _highest(view: View) -> Takeaway | None:
    if view.chance:
        return None
    best, *others = view.ranked
    text = f"{best.label} has the highest mean {view.metric} of all strategies with {view.labelled}: "
    text += f"{view.spread(best)}, over {seeds_of(best)}."
    gaps = {row.label: gap for row in others if (gap := best.lead(row, view.metric))}
    if gaps and all(gap.interval for gap in gaps.values()):
        close = [row.label for row in others if row.label in gaps and not view.pairs.apart(best, row)]
        verdict = f"not told apart from zero for {listed(close)}" if close else "told apart from zero for every other"
        text += f" Compared seed by seed and corrected for {view.pairs.told}, its lead is {verdict}."
    elif gaps:
        text += " One seed cannot say whether the order would hold for another."
    return Takeaway(f"Highest mean: {best.label}", text)


def against_control(view: View) -> Takeaway | None:
    """READ's forms against what lacks their cell: the strategy that is named as their control, or the plain adapter."""
    rows = {row.name: row for row in view.trained}
    forms = [row for row in view.trained if row.name.startswith("read") and not row.name.endswith(CONTROL)]
    pairs = [(row, rows.get(f"{row.name}{CONTROL}", rows.get(BASELINE))) for row in forms]
    gaps = [(row, other, gap) for row, other in pairs if other and (gap := row.lead(other, view.metric))]
    if not gaps:
        return None
    parts = [f"{row.label} to {other.label} {view.difference(gap)}" for row, other, gap in gaps]
    apart = [row.label for row, other, _ in gaps if view.pairs.apart(row, other)]
    which = f"{listed(apart) or 'no difference'} {'are' if len(apart) > 1 else 'is'}"
    end = f"Corrected for {view.pairs.told}, {which} told apart from zero."
    if any(gap.interval is None for *_, gap in gaps):
        end = "One seed gives no interval."
    return Takeaway(
        "READ against its controls",
        f"Mean difference in {view.metric}, seed by seed, with {view.labelled}: {'; '.join(parts)}. {end}",
    )


def _not_above(view: View) -> Takeaway | None:
    """What needs no training and is not surpassed."""
    top = view.mean(view.ranked[0])
    rows = [*(row for name, row in view.references.items() if name in view.task.below), view.zero_shot]
    strong = [row for row in rows if row and view.mean(row) >= top]
    if not strong:
        return None
    parts = listed([f"{row.label} ({view.number(view.mean(row))})" for row in strong])
    names = listed([row.label for row in strong])
    return Takeaway(f"No gain over {names}", f"No strategy’s mean {view.metric} exceeds that of {parts}.", caution=True)


def beyond_the_subject(view: View) -> Takeaway | None:
    """Whether the best strategy surpasses, by kind, who cannot tell a true moment from its look-alikes."""
    if (row := view.references.get(SUBJECT_ONLY)) is None:
        return None
    best, kinds = view.ranked[0], view.kinds if 1 < len(view.kinds) <= FEW_KINDS else []
    pairs = {kind: (view.mean(row, kind), view.mean(best, kind)) for kind in (None, *kinds)}
    told = [f"“{kind}” {view.number(pairs[kind][0])} against {view.number(pairs[kind][1])}" for kind in kinds]
    behind = [kind for kind, (bar, ours) in pairs.items() if ours <= bar]
    names = listed([f"“{kind}”" for kind in behind if kind])
    title = f"No more than the subject alone{f': {names}' * bool(names)}" if behind else "More than the subject alone"
    start, end = (view.number(value) for value in pairs[None])
    text = f"Who knows what is asked for, and not its look-alikes apart, would have {start} of {view.metric}; "
    text += f"{best.label}, the highest, has {end}."
    return Takeaway(title, f"{text} By kind: {', '.join(told)}." if told else text)


def _budget(view: View) -> Takeaway | None:
    if view.zero_shot is None or len(view.trained) < 2 or view.chance:
        return None
    start, best = view.mean(view.zero_shot), view.mean(view.ranked[0])
    if best <= start:
        return None
    gains = {row.name: (view.mean(row) - start) / (best - start) for row in view.trained}
    small = min((row for row in view.trained if gains[row.name] >= 0.8), key=lambda row: row.first.trainable)
    return Takeaway(
        f"Score for size: {small.label}",
        f"It is the smallest strategy whose mean gain over zero-shot is at least 80 % of the largest one: "
        f"{gains[small.name]:.0%}, with {small.first.trainable:,} trainable parameters "
        f"({percent(small.first.share)} of the model).",
    )


def _range(view: View) -> Takeaway | None:
    below = [row for name, row in view.references.items() if name not in view.task.above]
    above = [row for name, row in view.references.items() if name in view.task.above]
    fitted = [row for row in view.plain if row.runs]
    untrained = [*([view.zero_shot] if view.zero_shot else []), *fitted]
    if not (below or above or untrained):
        return None
    parts = [f"{row.quoted} {view.number(view.mean(row))}" for row in (*below, *untrained)]
    if len(view.trained) > 1:
        low, high = (view.number(view.mean(view.ranked[i])) for i in (-1, 0))
        parts.append(f"trained strategies {low} to {high}")
    parts += [f"{row.quoted} {view.number(view.mean(row))}" for row in above]
    return Takeaway("The scale", f"On this test side, {view.metric} is: {', '.join(parts)}.")


def _kinds(view: View) -> Takeaway | None:
    if len(view.kinds) < 2:
        return None
    best = view.ranked[0]
    if any(best.summary(view.metric, kind) is None for kind in view.kinds):
        return None
    order = sorted(view.kinds, key=lambda kind: view.mean(best, kind))
    tops = {kind: max(view.trained, key=lambda row, k=kind: view.mean(row, k)) for kind in view.kinds}
    shown = view.kinds if len(view.kinds) <= FEW_KINDS else [order[-1], order[0]]
    text = f"{best.label} by kind: {', '.join(f'“{kind}” {view.spread(best, kind)}' for kind in shown)}."
    if len(view.trained) > 1 and len(view.kinds) <= FEW_KINDS:
        text += f" Highest mean per kind: {'; '.join(f'“{kind}”: {row.label}' for kind, row in tops.items())}."
    elif len(view.trained) > 1:
        ahead = sum(row is best for row in tops.values())
        text += f" It has the highest mean of all strategies in {ahead} of {len(view.kinds)} kinds."
    return Takeaway(f"Lowest kind of {view.task.sample}: “{order[0]}”", text)


def _shots(view: View) -> Takeaway | None:
    counts = shots_of(view.everything)
    if len(counts) < 2:
        return None
    parts = []
    for row in view.ranked:
        fewest = next((r for r in view.everything if r.name == row.name and r.shots == counts[0]), None)
        if fewest and (gain := row.lead(fewest, view.metric)):
            parts.append(f"{row.label} {view.number(gain.mean, '+')}")
    text = f"Mean change in {view.metric}, in points: {', '.join(parts)}."
    few = next(row.labelled for row in view.everything if row.trained and row.shots == counts[0])
    return Takeaway(f"From {few} to {view.labelled}", text) if parts else None
