"""What becomes of the claims, in one word each, and the sentence that the page begins with.

A claim says that one strategy is better than another by more than a margin. It is supported where the whole interval of
the difference lies above the margin, refuted where the whole interval lies below, and else not decided. The intervals
are corrected for the number of claims of a setting (Holm 1979). There is no verdict before all registered runs are in.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.strategies import method_of
from pipeline.study.analysis import Outcome, corrected
from pipeline.study.schema import Study, shots_of_claim

SUPPORTED, REFUTED, OPEN = "supported", "refuted", "not decided"
READ = ("read", "read_lora", "read_paper", "read_pvla")  # the strategies that are READ, in whatever form


def verdicts(outcome: Outcome) -> list[dict[str, Any] | None]:
    """The verdict of every claim of the study in a setting, in their order; None for one that is not about it."""
    study = outcome.study
    about = [
        claim
        for claim in study.claims
        if outcome.setting in (claim.settings or [outcome.setting]) and outcome.runs(claim.better, claim.than)
    ]
    leads = [
        outcome.lead(claim.better, claim.than, shots_of_claim(study, claim), claim.metric or study.metric)
        for claim in about
    ]
    found = iter(corrected(leads, [claim.margin for claim in about]))
    rows: list[dict[str, Any] | None] = []
    for claim in study.claims:
        if claim not in about:
            rows.append(None)
            continue
        difference, shots = next(found), shots_of_claim(study, claim)
        row: dict[str, Any] = {"setting": outcome.setting, "shots": shots, "verdict": OPEN, "why": ""}
        row |= difference.row if difference else {"mean": None, "low": None, "high": None, "p": None, "decided": False}
        if not all(outcome.complete(name, shots) for name in (claim.better, claim.than)):
            row["why"] = "not all of its runs are there"
        elif difference is None or difference.p is None:
            row["why"] = "one seed has no interval"
        elif difference.decided:
            row["verdict"] = SUPPORTED if difference.mean > claim.margin else REFUTED
        else:
            row["why"] = f"the interval holds the margin of {claim.margin:g}"
        rows.append(row)
    return rows


def is_read(study: Study, entry: str) -> bool:
    """Whether an entry is a form of READ."""
    return method_of(entry, study.all_entries[entry])[0] in READ


def first_sentence(outcomes: Sequence[Outcome], label: Any) -> str:
    """Where READ stands, before anything else is said.

    Args:
        outcomes: of all settings that were run.
        label: from a strategy's name to what is shown.
    """
    parts, firsts = [], 0
    for outcome in outcomes:
        levels = _levels(outcome)
        if not levels or not any(is_read(outcome.study, name) for name in levels):
            continue
        best = max(levels, key=levels.__getitem__)
        ours = max((name for name in levels if is_read(outcome.study, name)), key=levels.__getitem__)
        if best == ours:
            firsts += 1
            others = [name for name in levels if not is_read(outcome.study, name)]
            second = max(others, key=levels.__getitem__, default=None)
            text = f"{label(ours)} is first, at {levels[ours]:.1f}"
            text += _gap(outcome, ours, second, label) if second else ""
        else:
            text = f"{label(best)} is first, at {levels[best]:.1f}; READ's best form, {label(ours)}, "
            text += f"is at {levels[ours]:.1f}" + _gap(outcome, ours, best, label)
        parts.append(f"on {outcome.setting} {text}")
    if not parts:
        return "No run has been scored yet, so nothing can be said of READ."
    if not firsts:
        return f"READ comes out first nowhere: {'; '.join(parts)}."
    where = "everywhere" if firsts == len(parts) else f"in {firsts} of {len(parts)} settings"
    return f"READ comes out first {where}, in the mean over all numbers of labelled videos: {'; '.join(parts)}."


def good_for(outcomes: Sequence[Outcome], label: Any) -> str:
    """What READ's forms are good for beside rank: gain over the untrained backbone by parameter, and size on disk."""
    parts = []
    for outcome in outcomes:
        rows = efficiency(outcome)
        ours = [row for row in rows if is_read(outcome.study, row["name"])]
        if not ours or len(ours) == len(rows):
            continue
        best, mine = (max(some, key=lambda row: row["per_thousand"]) for some in (rows, ours))
        small, smallest = (min(some, key=lambda row: row["bytes"]) for some in (ours, rows))
        text = f"on {outcome.setting} {label(mine['name'])} adds {mine['per_thousand']:+.2f} points to the untrained "
        text += "backbone for a thousand parameters that train"
        if best is not mine:
            text += f" (most: {label(best['name'])}, {best['per_thousand']:+.2f})"
        text += f", and {label(small['name'])} takes {small['bytes'] / 1000:.0f} kB a task"
        if smallest is not small:
            text += f" (least: {label(smallest['name'])}, {smallest['bytes'] / 1000:.0f} kB)"
        parts.append(text)
    return f"{'; '.join(parts)[:1].upper()}{'; '.join(parts)[1:]}." if parts else ""


def efficiency(outcome: Outcome) -> list[dict[str, Any]]:
    """Of every strategy that was run: parameters, bytes and the gain over zero-shot per 1000 parameters."""
    study, rows = outcome.study, []
    for name in study.strategies:
        runs = [run for run in outcome.trained if run.strategy == name]
        gain = outcome.lead(name, "zero_shot", study.shots, study.metric)
        if runs and gain is not None:
            run = runs[0]
            rows.append(
                {"name": name, "trainable": run.trainable, "bytes": run.adapter_bytes, "gain": gain.mean}
                | {"per_thousand": 1000 * gain.mean / run.trainable}
            )
    return rows


def _levels(outcome: Outcome) -> dict[str, float]:
    """Mean over all shots of the strategies that were run at all of them."""
    study = outcome.study
    found = {name: outcome.level(name, study.shots, study.metric) for name in study.strategies}
    return {name: scores.mean for name, scores in found.items() if scores is not None}


def _gap(outcome: Outcome, ours: str, theirs: str, label: Any) -> str:
    """The difference in words, with its own interval."""
    lead = outcome.lead(ours, theirs, outcome.study.shots, outcome.study.metric)
    if lead is None or lead.interval is None:
        return ""
    low, high = lead.interval
    apart = "" if lead.excludes_zero else ", which does not tell them apart"
    return f" ({label(ours)} minus {label(theirs)} {lead.mean:+.1f}, 95 % interval {low:+.1f} to {high:+.1f}{apart})"
