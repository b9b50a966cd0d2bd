"""What the page, the JSON and the Markdown of a study say, as data: tables of numbers, and no text but labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.reporting.stats import SeedScores
from pipeline.reporting.tables import label, reference_rows
from pipeline.study import machines
from pipeline.study.analysis import Outcome, corrected, matrix
from pipeline.study.schema import TASK, Study
from pipeline.study.verdicts import efficiency, first_sentence, good_for, verdicts

GOAL = 6  # of so many runs, fewer than one is to be at its grid's edge or best at its last step
ORDER = 80  # percent of look-alikes that a backbone ranks right on its source, below which it does not know a kind


def view(study: Study, outcomes: Sequence[Outcome], registered: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """All of it.

    Args:
        study: what was to be run.
        outcomes: what came out, by setting.
        registered: what was written down before.
        folder: of the study.
    """
    judged = [verdicts(outcome) for outcome in outcomes]
    return {
        "title": study.title,
        "first": first_sentence(outcomes, label),
        "good_for": good_for(outcomes, label),
        "metric": study.metric,
        "registered": {key: registered[key] for key in ("date", "hash", "tried")},
        "tried": [each.model_dump() for each in study.tried],
        "machines": machines.machines(folder),
        "runs": {
            "found": sum(len(outcome.trained) for outcome in outcomes),
            "expected": sum(outcome.expected for outcome in outcomes),
        },
        "left_out": [name for name in study.settings if name not in {outcome.setting for outcome in outcomes}],
        "claims": [
            {"claim": claim.claim, "better": claim.better, "than": claim.than, "margin": claim.margin}
            | {"metric": claim.metric or study.metric, "verdicts": [rows[i] for rows in judged if rows[i]]}
            for i, claim in enumerate(study.claims)
        ],
        "settings": [_setting(outcome) for outcome in outcomes],
        "labels": {name: label(name) for name in study.all_entries},
    }


def _setting(outcome: Outcome) -> dict[str, Any]:
    study, cell = outcome.study, outcome.cells[0]
    differences = matrix(outcome)
    return {
        "name": outcome.setting,
        "about": study.settings[outcome.setting].about,
        "backbone": cell.params.backbone.grounding,
        "dataset": cell.params.dataset,
        "shots": study.shots,
        "seeds": study.seeds,
        "backbone_seeds": study.seeds_of(outcome.setting),
        "train": getattr(cell.params.train, TASK).model_dump(mode="json"),
        "found": len(outcome.trained),
        "expected": outcome.expected,
        "flags": flags(outcome),
        "knows": knows(outcome),
        "rows": [_row(outcome, name) for name in study.strategies],
        "frame": frame(outcome),
        "kinds": kinds(outcome),
        "matrix": {
            str(k): [
                {"ours": ours, "theirs": theirs, **difference.row}
                for (ours, theirs, shots), difference in differences.items()
                if shots == k and difference is not None
            ]
            for k in study.shots
        },
        "ablations": ablations(outcome),
        "efficiency": efficiency(outcome),
    }


def flags(outcome: Outcome) -> dict[str, int]:
    """How many trained runs a wider grid or more steps might have lifted, and why; `any` counts each once."""
    signs = {"edge": "at_edge", "last": "at_last_step", "rising": "still_rising", "any": "cut_short"}
    counts = {key: sum(getattr(run, sign) for run in outcome.trained) for key, sign in signs.items()}
    return {"runs": len(outcome.trained)} | counts


def knows(outcome: Outcome) -> dict[str, dict[str, float]]:
    """How often the backbone, before any adaptation, ranks the true moment above a look-alike: side -> kind -> percent.

    On its source's training and validation side, and on the target's test side.
    """
    found: dict[str, dict[str, float]] = {}
    for side in ("source_train", "source_val"):
        found[side] = _means(results.source.discrimination.get(side, {}) for results in outcome.compared)
    zero = [run for seeds in outcome.arms.get(("zero_shot", 0), {}).values() for run in seeds.values()]
    found["target"] = _means(run.discrimination for run in zero)
    return {side: kinds for side, kinds in found.items() if kinds}


def _means(tables: Any) -> dict[str, float]:
    """Key -> mean over tables, of the keys that all have."""
    tables = list(tables)
    shared = [key for key in tables[0] if all(key in table for table in tables)] if tables else []
    return {key: fmean(table[key] for table in tables) for key in shared}


def _row(outcome: Outcome, name: str) -> dict[str, Any]:
    """A strategy over shots."""
    study = outcome.study
    runs = [run for run in outcome.trained if run.strategy == name]
    return {
        "name": name,
        "label": label(name),
        "trainable": runs[0].trainable if runs else None,
        "places": list(dict.fromkeys(place for run in runs for place in run.places)),
        "bytes": runs[0].adapter_bytes if runs else None,
        "flagged": sum(run.cut_short for run in runs),
        "runs": len(runs),
        "levels": {str(k): _level(outcome.level(name, [k], study.metric)) for k in study.shots},
        "discrimination": _means(run.discrimination for run in runs if run.shots == study.shots[-1]),
        "cosine": _means(run.alignment_cosine.model_dump() for run in runs if run.alignment_cosine),
    }


def _level(scores: SeedScores | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    low, high = scores.interval or (None, None)
    return {"mean": scores.mean, "low": low, "high": high}


def frame(outcome: Outcome) -> list[dict[str, Any]]:
    """Rows that frame the strategies, by their mean over seeds of the backbone."""
    study, rows = outcome.study, []
    for name in dict.fromkeys(name for results in outcome.compared for name in reference_rows(results)):
        found = [results.references[name] for results in outcome.compared if name in results.references]
        values = [each.scores[study.metric] for each in found if study.metric in each.scores]
        if values:
            rows.append(
                {"name": name, "label": label(name), "levels": dict.fromkeys(map(str, study.shots), fmean(values))}
                | {"discrimination": _means(each.discrimination for each in found)}
            )
    for name in ("zero_shot", "map"):
        levels = {k: outcome.level(name, [k], study.metric) for k in study.shots}
        known = {str(k): scores.mean for k, scores in levels.items() if scores is not None}
        runs = [
            run
            for (arm, _), cells in outcome.arms.items()
            if arm == name
            for seeds in cells.values()
            for run in seeds.values()
        ]
        if known:
            rows.append(
                {"name": name, "label": label(name), "levels": known}
                | {"discrimination": _means(run.discrimination for run in runs)}
            )
    return sorted(rows, key=lambda row: list(row["levels"].values())[-1])


def kinds(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Kind of query -> strategy -> level at the most shots; nothing where there is one kind."""
    study, most = outcome.study, [outcome.study.shots[-1]]
    names = sorted({kind for run in outcome.trained for kind in run.by_kind if kind})
    if len(names) < 2:
        return {}
    return {
        kind: {name: _level(outcome.level(name, most, study.metric, kind)) for name in study.strategies}
        for kind in names
    }


def ablations(outcome: Outcome) -> list[dict[str, Any]]:
    """Variants with their difference to a strategy of the comparison, corrected for all variants."""
    study = outcome.study
    if not study.settings[outcome.setting].ablations:
        return []
    keys = [(group, name) for group, ablation in study.ablations.items() for name in ablation.strategies]
    leads = [
        outcome.lead(name, study.ablations[group].against, study.ablation_shots, study.metric) for group, name in keys
    ]  # fmt: skip
    found = dict(zip(keys, corrected(leads, [0.0] * len(keys)), strict=True))
    return [
        {
            "name": group,
            "about": ablation.about,
            "against": ablation.against,
            "level": _level(outcome.level(ablation.against, study.ablation_shots, study.metric)),
            "rows": [
                {
                    "name": name,
                    "label": label(name),
                    "options": options,
                    "trainable": next((run.trainable for run in outcome.trained if run.strategy == name), None),
                    "level": _level(level),
                    "difference": difference.row if (difference := found[group, name]) else None,
                }
                for name, options in ablation.strategies.items()
                if (level := outcome.level(name, study.ablation_shots, study.metric))
            ],
        }
        for group, ablation in study.ablations.items()
    ]
