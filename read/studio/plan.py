"""Whether training may begin, on how many videos, and what it changes in params.yaml."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from read.data.splits import SplitSettings, make_split
from read.data.strata import Labelled
from read.data.summaries import load_summaries
from read.errors import InputError
from read.studio.working import Change, ParamsFile, card_file

LEAST = 2  # labelled videos to train on, in a comparison of several numbers of them


class Sided(Protocol):
    """What training has to know of a label."""

    vid: str
    side: str
    windows: Sequence[Any]


@dataclass(frozen=True)
class Plan:
    """What a training would do.

    Attributes:
        labelled, train, test: videos with labels, of all and of each side.
        shots: numbers of labelled videos to train on, the learning curve, ascending; beside them some choose.
        changes: of params.yaml.
        why: the reason why it cannot begin; empty where it can.
        notes: sentences about what is left out.
    """

    labelled: int = 0
    train: int = 0
    test: int = 0
    shots: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    why: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def told(self) -> dict[str, Any]:
        """What a page shows of it beforehand, as JSON."""
        names = ("labelled", "train", "test", "shots", "notes")
        return {name: getattr(self, name) for name in names} | {"params": [list(change) for change in self.changes]}


def empty_plan(labels: Iterable[Sided]) -> Plan:
    """A plan of nothing yet: how many videos are labelled."""
    sides = {label.vid: label.side for label in labels}
    return Plan(len(sides), *(list(sides.values()).count(side) for side in ("train", "test")))


def plan_training(working: Path, name: str, labels: Iterable[Sided]) -> Plan:
    """Plan a training on the labels of a dataset.

    The largest number of shots takes all labelled videos of the train side but those that choose (`split.val_share`);
    a half and a quarter of it make the learning curve, where they are two videos at least. `summarization` is learned
    where the card's summaries suffice for as many shots. All else in params.yaml stays.

    Raises:
        InputError: params.yaml cannot be read, or lacks what is needed.
    """
    params = ParamsFile(working)
    labels = list(labels)
    known = [SimpleNamespace(vid=label.vid, split=label.side, windows=label.windows, kind="") for label in labels]
    found = empty_plan(labels)
    try:
        curve, test = _curve(known, params)
    except InputError as error:
        return _refused(found, str(error))
    tasks, notes = _tasks(card_file(working, name, "summaries"), params, curve)
    wanted = {"task": tasks, "dataset": name, "runs.shots": curve}
    if params.get("source") == params.get("dataset"):
        wanted["source"] = name  # nothing is learned from another dataset
    if params.get("features") != "videos":
        wanted["features"] = "videos"
    return Plan(found.labelled, found.labelled - test, test, curve, params.changes(wanted), "", notes)


def _refused(found: Plan, reason: str) -> Plan:
    """A plan of nothing, with the reason in the words of who labels."""
    train, test = found.train, found.test
    if found.labelled == train + test and (train < 2 or test < 1):
        lacking = [f"{2 - train} more to learn from"] * (train < 2) + [f"{1 - test} to test on"] * (test < 1)
        reason = (
            f"label more videos: {' and '.join(lacking)} (now {train} on the train side, {test} on the test side; "
            "at least one trains, one chooses the best step, and one is tested on)"
        )
    return replace(found, why=reason)


def _curve(labels: Sequence[Labelled], params: ParamsFile) -> tuple[list[int], int]:
    """Numbers of shots, and how many videos are on the test side. Raises InputError where none can be had."""
    rule, seeds = params.get("split"), params.get("runs.seeds")

    def drawn(shots: int) -> int:
        settings = SplitSettings(
            rule["val_share"], rule["test_share"], rule["test_seed"], params.get("protocol"),
            params.get("domain") or "", rule["shots_per"], largest=shots,
        )  # fmt: skip
        return max(len(make_split(labels, shots, seed, settings).test) for seed in seeds)

    try:
        test = drawn(1)
        most = _most(drawn, len({label.vid for label in labels}))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{params.path}: split or runs.seeds: {error!r}; `snakemake -n` lists all mistakes") from None
    return sorted({most, *(part for part in (most // 4, most // 2) if part >= LEAST)}), test


def _most(drawn: Callable[[int], int], most: int) -> int:
    """The largest number of shots that can be drawn, from 1 to `most`; 1 can."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        try:
            drawn(middle)
            low = middle
        except InputError:
            high = middle - 1
    return low


def _tasks(summaries: Path | None, params: ParamsFile, curve: Sequence[int]) -> tuple[list[str], list[str]]:
    """What is learned, in the order of params.yaml, and a sentence where summaries are left out."""
    named = params.get("task")
    if summaries is None or not summaries.read_text(encoding="utf-8").strip():
        return ["grounding"], []
    try:
        rows = load_summaries(summaries)
        enough = _curve(rows, params)[0][-1]
    except InputError as error:
        return ["grounding"], [f"Summaries are not learned: {error}"]
    if enough < curve[-1]:
        return ["grounding"], [
            f"Summaries are not learned: they would have to be there for as many videos as are trained on, {curve[-1]} "
            f"beside those that choose and test, and suffice for {enough}."
        ]
    both = ["grounding", "summarization"]
    return named if isinstance(named, list) and sorted(named) == both else both, []
