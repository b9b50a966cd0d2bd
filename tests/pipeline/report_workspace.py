"""A results folder of both tasks, of seeded random numbers and drawn videos: no model was run for any of them."""

import random
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from pipeline.reporting.inputs import Inputs
from pipeline.reporting.records import Provenance
from read.encoders.frames import write_video
from read.files import write_json, write_jsonl

DURATION, CLIP_LEN, TOTAL = 20.0, 2.0, 250_000
CLIPS = int(DURATION / CLIP_LEN)
TRAINABLE = {
    "zero_shot": 0,
    "bias": 3_107,
    "adapter": 3_377,
    "read": 3_665,
    "read_pvla": 3_665,
    "lora": 7_777,
    "full": 250_000,
}
METRICS = {
    "grounding": ("MR-full-mAP", "MR-full-R1@0.5", "MR-full-R1@0.7", "HL-clip-AP", "HL-min-VeryGood-mAP"),
    "summarization": (
        "ROUGE-L-whitespace",
        "ROUGE-1-whitespace",
        "ROUGE-2-whitespace",
        "BLEU-4",
        "METEOR-2007-exact-stem",
        "CIDEr-D",
        "ContentF1-VG-GPLMs-exact-stem",
    ),
}
PRIMARY = {task: names[0] for task, names in METRICS.items()}
LEVELS = {  # of rows without a model
    "grounding": {"oracle": 99, "random": 22},
    "summarization": {"lead": 31, "shuffled": 24},
}
CEILINGS = {"perfect_clips": 77, "subject_only": 56}  # of grounding
SOURCE = {"source_train": {"move": 95.0, "order": 77.0}, "source_val": {"move": 87.0, "order": 60.0}}  # discrimination
PLAIN = ("cosine", "shots")  # of grounding, rows without a model that need no training
KINDS = ("move", "order")
QUERIES = ("the camera pans left over the cat", "the coffee <script>alert(1)</script> & after", "zoom onto the moon")
THINGS = ("cat", "coffee cup", "moon", "rocket", "page of text", "row of coins")
MOVES = ("pans left over", "zooms onto", "tilts up along", "rests on")


def make_results(
    root: Path,
    tasks: tuple[str, ...] = ("grounding", "summarization"),
    strategies: tuple[str, ...] = tuple(TRAINABLE),
    shots: tuple[int, ...] = (8, 32),
    seeds: tuple[int, ...] = (0, 1, 2),
    videos: int = 6,
    kinds: tuple[str, ...] = KINDS,
    attention: bool = True,
    plain: float | None = None,
) -> Inputs:
    """Write results and raw data under `root`; what `build_report` takes. One further video is missing.

    `attention`: aligning strategies have plans, and all have attention. The last video is silent. `plain`: the level of
    grounding's rows that need no training, `cosine`, `shots` and `map`; there are none without it.
    """
    dice = random.Random(5)
    labels = make_raw(root / "raw", dice, videos, kinds)
    for task in tasks:
        apart = kinds if task == "grounding" else ()
        levels = dict(LEVELS[task])
        rows = list(strategies)
        if plain is not None and task == "grounding":
            levels |= dict.fromkeys(PLAIN, plain)
            rows.append("map")
        framing = {name: _level(dice, labels[task], task, level, apart) for name, level in levels.items()}
        if task == "grounding":
            dice_of_ceilings = random.Random(7)
            for name, level in CEILINGS.items():
                framing[name] = _level(dice_of_ceilings, labels[task], task, level, apart)
            write_json(root / "runs" / task / "source.json", {"discrimination": SOURCE, "score": 70.6})
        write_json(root / "runs" / task / "references.json", framing)
        for strategy in rows:
            level = 40 + 4 * np.log10(max(TRAINABLE.get(strategy, 0), 1))
            level = {"zero_shot": 34, "map": plain}.get(strategy, level)
            for k, seed in [(0, 0)] if strategy == "zero_shot" else [(k, seed) for k in shots for seed in seeds]:
                folder = root / "runs" / task / strategy / f"k{k}-s{seed}"
                lift = 3 * np.log2(max(k, 8) / 8)
                write_run(folder, task, strategy, k, seed, level + lift, labels[task], apart, dice)
                if attention:
                    write_attention(folder, task, strategy, labels[task], dice)
    provenance = Provenance(
        params={"dataset": "toy", "train": {"steps": 200}}, data={"data/raw/toy": "9f" * 16},
        commit="ab" * 20, dirty=True, packages={"torch": "2.13.0"}, device="cpu",
    )  # fmt: skip
    metrics = {task: PRIMARY[task] for task in tasks}
    return Inputs("toy", root / "runs", root / "raw", metrics, 4, CLIP_LEN, provenance)


def make_raw(raw: Path, dice: random.Random, videos: int, kinds: tuple[str, ...]) -> dict[str, list[dict]]:
    """Labels, manifest and videos; the labels of the videos that are there, by task."""
    colours = np.random.default_rng(5)
    queries, summaries = [], []
    for v in range(videos + 1):
        for i, kind in enumerate(kinds):
            start = 2.0 * dice.randrange(1, 7)
            queries.append(
                {"qid": 100 * v + i, "query": QUERIES[(v + i) % 3], "vid": f"toy{v}", "duration": DURATION}
                | {"relevant_windows": [[start, start + 4]], "kind": kind, "split": "test"}
            )
        shown = [f"{dice.choice(MOVES)} the {thing}" for thing in dice.sample(THINGS, 3)]
        transcript = "" if v == videos - 1 and videos > 1 else f"hello, today the camera {' and then it '.join(shown)}"
        summary = f"a camera that {shown[0]} , {shown[1]} and {shown[2]}"
        summaries.append({"vid": f"toy{v}", "transcript": transcript, "summary": summary, "split": "test"})
        if v < videos:
            shade = np.linspace(0, 255, 64)[None, :, None] * colours.random(3)
            frames = (np.roll(np.tile(shade, (48, 1, 1)), 3 * t, axis=1).astype(np.uint8) for t in range(80))
            write_video(raw / "videos" / f"toy{v}.mp4", frames, fps=4)
    write_jsonl(raw / "annotations.jsonl", queries)
    write_jsonl(raw / "summaries.jsonl", summaries)
    files = {f"toy{v}": {"file": f"toy{v}.mp4", "sha256": "0" * 64} for v in range(videos)}
    write_json(raw / "manifest.json", {"videos": files, "missing": {f"toy{videos}": "HTTP 404 <gone>"}})
    return {"grounding": queries[: len(kinds) * videos], "summarization": summaries[:videos]}


def write_run(folder, task, strategy, k, seed, level, labels, kinds, dice) -> None:
    """scores.json, predictions.jsonl and curve.csv of a run."""
    level += dice.gauss(0, 1.5)
    trainable = TRAINABLE.get(strategy, 0)
    rates = (1e-3, 3e-3, 1e-2) if trainable else ()
    grid = [{"learning_rate": rate, "score": level + dice.uniform(-6, 0)} for rate in rates]
    best = max(grid, key=lambda point: point["score"])["learning_rate"] if grid else None
    backbone, total = {"grounding": "univtg"}.get(task, "small_bart"), TOTAL
    if strategy == "map":
        backbone, total = "joint", 2 * TOTAL
    row = {"strategy": strategy, "shots": k, "seed": seed, "backbone": backbone}
    row |= {"trainable": trainable, "total": total, "share": trainable / TOTAL, "adapter_bytes": 4 * trainable}
    row |= {"learning_rate": best, "grid": grid, "steps": 200, "best_step": 150, "task": task}
    row |= {"n_samples": len(labels), "n_videos": len({label["vid"] for label in labels})}
    if trainable:
        row |= {
            "places": ["projection", "feed_forward"],
            "budget": 4000,
            "size": {"bottleneck": 6},
            "at_edge": False,
            "still_rising": False,
        }
    if task == "grounding":
        row["discrimination"] = {"move": 60 + level % 7, "order": 50 + level % 3}
        row["alignment_cosine"] = {"own": 0.62, "other": 0.35 + 0.01 * seed} if strategy == "read_pvla" else None
    write_json(folder / "scores.json", row | _level(dice, labels, task, level, kinds))
    predict = _windows if task == "grounding" else _summary
    write_jsonl(folder / "predictions.jsonl", [predict(label, dice) for label in labels])
    if trainable:
        scores = [level - 20 * np.exp(-step / 60) + dice.uniform(-1, 1) for step in range(0, 201, 25)]
        lines = [f"{25 * i},{2 / (i + 1):.3f},{value:.3f}" for i, value in enumerate(scores)]
        (folder / "curve.csv").write_text("\n".join(["step,loss,val_score", *lines, "201,0.1,"]) + "\n")


def write_attention(folder: Path, task: str, strategy: str, labels: list[dict], dice: random.Random) -> None:
    """What a model looked at: plans (clips, words) of what aligns; attention (words, clips) of every summarizer."""
    noise = np.random.default_rng(dice.randrange(99))
    arrays, notes = {}, {}
    for label in labels if task == "summarization" or strategy == "read_pvla" else []:
        if task == "grounding":
            words = ["<start>", *label["query"].split()[:6], "<end>"]
            plan = noise.random((CLIPS, len(words)), dtype=np.float32) ** 6
            arrays[str(label["qid"])] = 0.5 * plan / plan.sum()
            notes[str(label["qid"])] = {"words": words, "mass": 0.5}
        else:
            words = label["transcript"].split()[:14]
            sharp = noise.random((len(words), CLIPS), dtype=np.float32) ** 5 + 0.02
            arrays[label["vid"]] = sharp / sharp.sum(1, keepdims=True)
            notes[label["vid"]] = {"words": words}
    save_file(arrays, folder / "attention.safetensors")
    write_json(folder / "attention.json", notes)


def _level(dice, labels, task, level, kinds) -> dict:
    """Scores about a level, each kind a little off it, and each video, whose mean they are."""
    scale = {"CIDEr-D": 0.04}
    scores = {n: (level - 4 * i + dice.uniform(-1, 1)) * scale.get(n, 1) for i, n in enumerate(METRICS[task])}
    scores = {name: max(value, 0.0) for name, value in scores.items()}
    shifts = {kind: 6 - 12 * i / max(len(kinds) - 1, 1) for i, kind in enumerate(kinds)}
    videos = sorted({label["vid"] for label in labels})
    offsets = np.linspace(-1, 1, len(videos)) if len(videos) > 1 else [0]
    return {
        "scores": scores,
        "by_kind": {
            kind: {name: min(max(value + shift, 0.0), 100.0) for name, value in scores.items()}
            for kind, shift in shifts.items()
        },
        "by_video": [
            {"vid": vid, "samples": 1, "scores": {name: value + offset for name, value in scores.items()}}
            for vid, offset in zip(videos, offsets, strict=True)
        ],
    }


def _windows(annotation: dict, dice: random.Random) -> dict:
    true = annotation["relevant_windows"][0]
    first = [max(0.0, min(16.0, true[0] + dice.choice((-4, -2, 0, 0, 2, 6)))), 0, 0.9]
    first[1] = first[0] + 4
    other = sorted(dice.sample(range(0, 20, 2), 2))
    saliency = [float(true[0] <= 2 * i < true[1]) + dice.uniform(-0.4, 0.4) for i in range(CLIPS)]
    windows = [first, [float(other[0]), float(other[1]), 0.4]]
    return {key: annotation[key] for key in ("qid", "query", "vid")} | {
        "pred_relevant_windows": windows, "pred_saliency_scores": saliency,
    }  # fmt: skip


def _summary(summary: dict, dice: random.Random) -> dict:
    """The reference with some words exchanged or left out."""
    words = [word for word in summary["summary"].split() if dice.random() < 0.9]
    other = [
        dice.choice(("the", "shown", "slowly", "</script><b>&")) if dice.random() < 0.25 else word for word in words
    ]
    return {"vid": summary["vid"], "summary": " ".join(other)}
