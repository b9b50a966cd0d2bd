"""The model card of a bundle: what it is, what it was trained on, what it scores. For people, and for the hub."""

import json
from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from read.bundle.folder import TASKS
from read.bundle.workspace import TrainedRun
from read.errors import optional_imports
from read.files import read_json

CONFIDENCE = 0.95
ENOUGH = 30  # validation queries that are answered right, and
ENOUGH_VIDEOS = 10  # their videos, below which what rests on them is told
WORDS = 500  # of a vocabulary that are listed
TAGS = {
    "grounding": ["moment-retrieval", "highlight-detection", "video-grounding"],
    "summarization": ["video-summarization", "summarization"],
}
TITLES = {"grounding": "Moments and highlights for a sentence", "summarization": "A summary of a video"}
TRAINING = (
    "shots", "seed", "trainable", "total", "share", "adapter_bytes", "learning_rate", "steps", "best_step", "val_score",
    "gain", "gain_se", "folds", "alignment",
)  # fmt: skip


def card_of(
    name: str, runs: Mapping[tuple[str, str], TrainedRun], licence: str, words: Sequence[str] | None = None
) -> dict[str, Any]:
    """The card as JSON: `name`, `licence`, `version`, `words`, and for each task its `backbone` and `adapters`.

    Args:
        name: of the bundle.
        runs: by task and name of the adapter.
        licence: of the models.
        words: that the text encoder has learned from, where it was trained here.
    """
    from read import __version__

    tasks = {task: {name: run for (of, name), run in runs.items() if of == task} for task in TASKS}
    return {
        "name": name, "licence": licence, "version": __version__, "words": words,
        "tasks": {
            task: {
                "backbone": next(iter(of_task.values())).pretraining()
                | {"config": _plain(read_json(next(iter(of_task.values())).backbone / "config.json"))},
                "adapters": {name: _adapter(run) for name, run in of_task.items()},
            }
            for task, of_task in tasks.items()
            if of_task
        },
    }  # fmt: skip


def _adapter(run: TrainedRun) -> dict[str, Any]:
    values = read_json(run.folder / "adapter.json")
    return {
        "dataset": run.dataset,
        "data": run.data(),
        "decoders": run.decoders(),
        "split": run.split(),
        "strategy": {"name": values["strategy"], "options": values["options"]},
        "training": {key: run.record[key] for key in TRAINING if run.record.get(key) is not None},
        "threshold": run.record.get("threshold"),
        "confidence": run.record.get("confidence"),
        "untrained": is_untrained(run.record),
        "predict": run.record.get("predict", {}),
        "scores": run.record.get("scores", {}),
        "references": run.untrained_scores(),
        "seeds": intervals(run.scores_of_seeds()),
    }


def is_untrained(record: Mapping[str, Any]) -> bool:
    """Whether a run's training gained nothing, or too little to believe, so that its untuned state was kept."""
    return record.get("untuned", False) or record.get("best_step") == 0


def intervals(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and 95 % interval (Student's t) of each score over runs with other seeds; empty for fewer than two runs."""
    if len(rows) < 2:
        return {}
    from scipy.special import stdtrit

    factor = float(stdtrit(len(rows) - 1, (1 + CONFIDENCE) / 2)) / sqrt(len(rows))
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows if name in row]
        if len(values) == len(rows):
            mean, half = fmean(values), factor * stdev(values)
            found[name] = {"mean": mean, "low": mean - half, "high": mean + half, "seeds": len(values)}
    return found


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A model's sizes, without the text model's own hundred settings."""
    return {key: value for key, value in config.items() if not isinstance(value, dict | list)}


def readme(card: Mapping[str, Any]) -> str:
    """The card as the hub shows it: Markdown under YAML front matter."""
    with optional_imports():
        import yaml  # comes with the encoders' packages

    head = yaml.safe_dump(_front_matter(card), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n{body(card)}"


def body(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    parts = [f"# {card['name']}", _USE.format(name=card["name"])]
    if (words := card.get("words")) is not None:
        more = f" and {len(words) - WORDS} more" if len(words) > WORDS else ""
        parts += ["## What it understands", KNOWS.format(count=len(words)), ", ".join(words[:WORDS]) + more]
    for task, content in card["tasks"].items():
        parts += [f"## {TITLES[task]}", table(content["backbone"] | content["backbone"].get("config", {}))]
        for name, adapter in content["adapters"].items():
            parts += [f"### Adapter `{name}`", *_of_adapter(adapter)]
    return "\n\n".join(parts) + "\n"


KNOWS = (
    "The text encoder was trained on a small domain and knows {count} words. Any other says nothing to it; predict and "
    "the page name those that a query has."
)
UNTRAINED = (
    "**The untuned state was kept: on the labelled videos that choose, no step of its training was better than the "
    "model before it, or not by more than one standard error. This is the model untuned.**"
)
REFERENCES = {"cosine": "cosine, no training", "map": "linear map (ridge)"}  # rows that need no training, as shown
NO_TRAINING = (
    "The last columns are what needs no training, on the same test side: an adapter is worth its lead over them."
)

_USE = """Adapters made with READ (`pip install read-adapters`). Ask it of any video:

```bash
read-adapters predict --bundle {name} --query "the dog jumps over the fence" party.mp4
```

```python
from read import Predictor

video = Predictor.from_bundle("{name}").encode("party.mp4")
video.moments("the dog jumps over the fence")  # [(start, end, score), ...] in seconds, best first
```"""


def _front_matter(card: Mapping[str, Any]) -> dict[str, Any]:
    tags = ["video", "read-adapters", *(tag for task in card["tasks"] for tag in TAGS[task])]
    results = [
        {
            "task": {"type": TAGS[task][0], "name": TITLES[task]},
            "dataset": {"type": adapter["dataset"], "name": adapter["data"].get("title", adapter["dataset"])},
            "metrics": [
                {"type": metric, "value": round(value, 2), "name": f"{metric} ({name})"}
                for metric, value in adapter["scores"].items()
            ],
        }
        for task, content in card["tasks"].items()
        for name, adapter in content["adapters"].items()
        if adapter["scores"]
    ]
    index = {"model-index": [{"name": card["name"], "results": results}]} if results else {}
    return {"license": card["licence"], "library_name": "read-adapters", "tags": tags} | index


def _of_adapter(adapter: Mapping[str, Any]) -> list[str]:
    strategy, data = adapter["strategy"], adapter["data"]
    bar = adapter["threshold"]
    facts = {
        "dataset": adapter["dataset"], **data, "licence of the data": data.get("licence", "not stated"),
        "strategy": strategy["name"], "threshold of moments": "none" if bar is None else bar, **adapter["predict"],
    }  # fmt: skip
    facts.pop("licence", None)
    parts = [UNTRAINED] if adapter.get("untrained") else []
    parts += [table(facts), *_confidence(adapter.get("confidence"), bar)]
    for title, values in (
        ("Split, in videos", adapter["split"]),
        ("Training", adapter["training"]),
        ("Options of the strategy", strategy["options"]),
    ):
        if values:
            parts += [f"{title}:", table(values)]
    return [*parts, *_scores(adapter)]


def caution(worth: Mapping[str, Any] | None) -> str:
    """What a bar rests on, where that is few; empty where it is not, or where nobody counted."""
    if worth is None or (worth["found"] >= ENOUGH and worth["videos"] >= ENOUGH_VIDEOS):
        return ""
    videos = f"{worth['videos']} video{'s' * (worth['videos'] != 1)}"
    return f"the bar was chosen on few right answers: {worth['found']}, of {videos}"


def _confidence(worth: Mapping[str, Any] | None, bar: float | None) -> list[str]:
    """What the bar for moments is worth, or why there is none."""
    if worth is None:
        return []
    if bar is None:
        return [
            f"There is no bar, so every query is answered with moments: of the {worth['present']} queries of "
            f"{worth['videos']} validation videos {worth['found']} were answered right, and fewer than nine do not "
            "support one."
        ]
    share = "" if worth["precision"] is None else f", a precision of {worth['precision']:.2f}"
    said = f"At this bar, on the validation videos that it was chosen on: {worth['right']} of {worth['shown']} moments "
    said += f"shown are right{share}; {worth['answered']} of {worth['present']} queries for what is there are answered"
    if worth["absent"]:
        said += f", and {worth['answered_absent']} of {worth['absent']} for what another video shows"
    said = f"{said}. A query below the bar is answered with: not in this video. That denies {worth['denied']} of "
    said += f"the {worth['found']} queries whose first moment is right; the bar was chosen to deny a tenth at most."
    if worth["absent_precision"] is not None and worth["absent_recall"] is not None:
        said += f" That answer is right in {worth['absent_precision']:.0%} of its cases (precision), and given to "
        said += f"{worth['absent_recall']:.0%} of the queries for what is not there (recall)"
        said += f"; there were {worth['absent']} of these for {worth['present']} others."
    told = caution(worth)
    return [said, *([f"**Take it with care: {told}.**"] if told else [])]


def _scores(adapter: Mapping[str, Any]) -> list[str]:
    if not adapter["scores"]:
        return ["This run was not evaluated."]
    others = {REFERENCES.get(name, name): row for name, row in adapter.get("references", {}).items()}
    heads = ["score on the test side", "this run", "mean over seeds, 95 % interval", *others]
    rows = [_row(heads), "|---" * len(heads) + "|"]
    for name, value in adapter["scores"].items():
        over = adapter["seeds"].get(name)
        told = f"{over['mean']:.1f} [{over['low']:.1f}, {over['high']:.1f}], {over['seeds']} seeds" if over else ""
        beside = [f"{row[name]:.1f}" if name in row else "" for row in others.values()]
        rows.append(_row([name, f"{value:.1f}", told, *beside]))
    said = "The interval is Student's t: it speaks of another draw of videos to train on."
    return ["\n".join(rows), f"{said} {NO_TRAINING}" if others else said]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def table(values: Mapping[str, Any]) -> str:
    """A table of two columns, without a head."""
    rows = (f"| {_cell(key)} | {_cell(value)} |" for key, value in values.items() if not isinstance(value, dict))
    return "\n".join(["| | |", "|---|---|", *rows])


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")
