"""A study's tables in Markdown, with the commands that made them, the machines and the date."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.reporting.page import size
from pipeline.study.page import number, p_value, signed
from pipeline.study.view import GOAL, ORDER

HEADER = """\
# {title}

This page is written by `python -m pipeline.study --markdown docs/study.md` from the scores of the study that
[`study.yaml`](../study.yaml) describes; no number in it is written by hand. The study is run by

```bash
make study                              # all settings; goes on where it was
make study SETTINGS=montage             # one of them
python -m pipeline.study --commands train > train.txt     # or its jobs elsewhere: see python -m pipeline.study --help
```

**{first}** {good_for}
"""


def as_markdown(shown: Mapping[str, Any]) -> str:
    """The page, of what `pipeline.study.view.view` gave."""
    lines = [HEADER.format(title=shown["title"], first=shown["first"], good_for=shown["good_for"])]
    if shown["runs"]["found"] < shown["runs"]["expected"]:
        lines.append(f"Not complete: {shown['runs']['found']} of {shown['runs']['expected']} runs are there.\n")
    if shown["left_out"]:
        lines.append(f"Settings of the study that were not run: {', '.join(shown['left_out'])}.\n")
    lines += _claims(shown)
    for setting in shown["settings"]:
        lines += _setting(setting, shown)
    lines += _registration(shown)
    return "\n".join(lines)


def _claims(shown: Mapping[str, Any]) -> Iterator[str]:
    yield "## Claims\n"
    yield (
        "A claim says that one strategy is better than another by more than a margin, in the mean over labelled "
        "videos. Supported: the whole interval of the difference lies above the margin; refuted: below. Differences "
        "are paired by backbone, seed and test video; intervals and p are corrected for all claims of a setting "
        "(Holm).\n"
    )
    labels = shown["labels"]
    yield from _table(
        ["claim", "setting", "labelled videos", "difference", "interval", "margin", "p", "verdict"],
        [
            [
                f"{claim['claim']} ({labels[claim['better']]} - {labels[claim['than']]})",
                row["setting"], ", ".join(map(str, row["shots"])), signed(row["mean"]), _interval(row, signed),
                f"{claim['margin']:g}", p_value(row["p"]),
                f"**{row['verdict']}**" + (f": {row['why']}" if row["why"] else ""),
            ]
            for claim in shown["claims"]
            for row in claim["verdicts"]
        ],
    )  # fmt: skip


def _setting(setting: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[str]:
    shots, flags, most = setting["shots"], setting["flags"], str(setting["shots"][-1])
    yield f"## {setting['name']}\n"
    alone = " With one seed of the backbone, the intervals speak of this backbone only." * (
        len(setting["backbone_seeds"]) == 1
    )
    yield (
        f"{setting['about']} Backbone {setting['backbone']}, seeds of the backbone {_list(setting['backbone_seeds'])}, "
        f"seeds {_list(setting['seeds'])}; {setting['found']} of {setting['expected']} runs.{alone} "
        f"Of {flags['runs']} runs, a wider grid or more steps might have lifted {flags['any']} (fewer than one in "
        f"{GOAL} is the goal): {flags['edge']} chose the lowest or highest of their rates, {flags['last']} were best "
        f"at their last step, {flags['rising']} still rose there by more than the error.\n"
    )
    for kind, share in setting["knows"].get("source_val", {}).items():
        if share < ORDER:
            yield (
                f"**This backbone does not know {kind}**: on its source's validation videos it ranks the true moment "
                f"above a look-alike in {number(share)} % of cases (chance is 50). The table cannot show who does.\n"
            )
    if setting["knows"]:
        sides = (f"{side.replace('_', ' ')} {_told(kinds)}" for side, kinds in setting["knows"].items())
        yield f"The backbone ranks the true moment above a look-alike in: {'; '.join(sides)} (percent, chance 50).\n"
    rows = [
        [row["label"], _count(row["trainable"]), ", ".join(row["places"])]
        + [_level(row["levels"][str(k)]) for k in shots]
        + [_told(row["discrimination"]), f"{row['flagged']} of {row['runs']}"]
        for row in setting["rows"]
    ]
    frame = [
        [row["label"], "", "", *(number(row["levels"].get(str(k))) for k in shots), _told(row["discrimination"]), ""]
        for row in setting["frame"]
    ]
    yield f"{shown['metric']}: mean and its 95 % interval; cut short: a wider grid or more steps might lift it.\n"
    yield from _table(
        ["strategy", "trains", "where", *(f"k = {k}" for k in shots), "discrimination", "cut short"], [*frame, *rows]
    )
    if setting["kinds"]:
        yield f"By kind of query, k = {most}:\n"
        kinds = setting["kinds"]
        yield from _table(
            ["strategy", *kinds],
            [[row["label"], *(_level(kinds[kind][row["name"]]) for kind in kinds)] for row in setting["rows"]],
        )
    labels, corrected = shown["labels"], "corrected for all pairs at all numbers of labelled videos"
    yield f"Differences at k = {most}, {corrected}; bold: zero is excluded.\n"
    yield from _table(
        ["pair", "difference", "interval", "p"],
        [
            [f"{labels[each['ours']]} - {labels[each['theirs']]}", *_difference(each), p_value(each["p"])]
            for each in setting["matrix"][most]
        ],
    )
    if setting["efficiency"]:
        yield "Gain over the untrained backbone, in the mean over labelled videos:\n"
        yield from _table(
            ["strategy", "trains", "on disk", "gain", "per 1000 parameters"],
            [
                [labels[row["name"]], _count(row["trainable"]), size(row["bytes"]), signed(row["gain"]), each]
                for row in sorted(setting["efficiency"], key=lambda row: -row["per_thousand"])
                for each in [f"{row['per_thousand']:.2f}"]
            ],
        )
    for group in setting["ablations"]:
        about = f"{group['about']} " if group["about"] else ""
        if not group["rows"]:
            yield f"Ablation, {group['name']}: {about}Not run.\n"
            continue
        yield f"Ablation, {group['name']}: {about}each minus {labels[group['against']]}, corrected for all variants.\n"
        yield from _table(
            ["variant", "trains", shown["metric"], "difference", "interval"],
            [
                [row["label"], _count(row["trainable"]), _level(row["level"]), *_difference(row["difference"])]
                for row in group["rows"]
            ],
        )


def _registration(shown: Mapping[str, Any]) -> Iterator[str]:
    about = shown["registered"]
    yield "## Registration\n"
    yield (
        f"Strategies, grids, seeds, claims and code were written down on {about['date']}, before the first test score, "
        f"under the hash `{about['hash']}`. Before that, {about['tried']} forms had been looked at:\n"
    )
    yield from (f"* {each['forms']}: {each['what']} ({each['where']})" for each in shown["tried"])
    yield "\nMachines:\n"
    for machine in shown["machines"]:
        packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
        yield f"* {machine['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['system']}; {packages}"
    yield ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
    yield ""


def _level(level: Mapping[str, Any] | None) -> str:
    if not level:
        return "n/a"
    return number(level["mean"]) + (f" [{_interval(level, number)}]" if level["low"] is not None else "")


def _interval(row: Mapping[str, Any] | None, show: Any) -> str:
    return f"{show(row['low'])} to {show(row['high'])}" if row and row["low"] is not None else ""


def _difference(row: Mapping[str, Any] | None) -> list[str]:
    if not row:
        return ["n/a", ""]
    return [f"**{signed(row['mean'])}**" if row["decided"] else signed(row["mean"]), _interval(row, signed)]


def _count(parameters: int | None) -> str:
    return f"{parameters:,}" if parameters else ""


def _told(kinds: Mapping[str, float]) -> str:
    return ", ".join(f"{kind or 'all'} {number(share)}" for kind, share in kinds.items())


def _list(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
