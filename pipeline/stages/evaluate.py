"""Stage 7: predictions on the test side and their scores, for each strategy's runs and for the rows that frame them.

The frame: rows that need no model, such as `random`, and `zero_shot`, the backbone as it was pretrained.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import nn

from pipeline import paths
from pipeline.cli import run, task_parser
from pipeline.machine import chosen_device
from pipeline.tasks import Work, print_warnings, work_on
from read.adapters import load_adapter
from read.alignment import Alignment
from read.errors import InputError
from read.files import atomic_path, check_sha256, read_json, write_json, write_jsonl

UNTRAINED = {
    "strategy": "zero_shot", "shots": 0, "seed": 0, "trainable": 0, "share": 0.0, "adapter_bytes": 0,
    "learning_rate": None, "grid": [], "steps": 0, "best_step": 0,
}  # fmt: skip
OF_SOURCE = ("score", "discrimination")  # what the report shows of pretraining


def evaluate(task: str, strategy: str, settings: SimpleNamespace) -> None:
    """Predict with the adapters of all of a strategy's runs; write predictions, scores, curves and attention maps."""
    work = work_on(task, settings)
    for shots in settings.runs.shots:
        for seed in settings.runs.seeds:
            evaluate_run(work, task, strategy, shots, seed, settings)


def evaluate_run(work: Work, task: str, strategy: str, shots: int, seed: int, settings: SimpleNamespace) -> None:
    """The same for one run."""
    trained = paths.adapter(settings.dataset, task, strategy, shots, seed)
    record = read_json(trained / "run.json")
    split = read_json(paths.split_file(settings.dataset, task, shots, seed))
    samples, _ = work.samples(settings.dataset, split["test"])
    val, _ = work.samples(settings.dataset, split["val"])
    check_sha256(trained / "adapter.safetensors", record.pop("sha256", None))
    model = load_adapter(work.backbone(), trained).to(chosen_device())
    alignment = Alignment(**record["alignment"]) if record["alignment"] else None
    folder = paths.result(settings.dataset, task, strategy, shots, seed)
    write_attention(folder, *work.attention_maps(model, samples, alignment))
    shutil.copyfile(trained / "curve.csv", folder / "curve.csv")
    write_scores(folder, work, model, samples, record | work.inference_settings(model, val), split)
    print(f"{folder}: {len(samples)} samples scored")


def references(task: str, settings: SimpleNamespace) -> None:
    """Write the scores of rows that need no model, of the backbone as it is, and of the backbone on its source."""
    work, runs = work_on(task, settings), settings.runs
    split = read_json(paths.split_file(settings.dataset, task, runs.shots[0], runs.seeds[0]))  # as any: one test side
    samples, _ = work.samples(settings.dataset, split["test"])
    model = work.backbone().to(chosen_device())
    pretrained = read_json(paths.backbone(task) / "pretrain.json")
    record = UNTRAINED | {
        "task": task,
        "backbone": pretrained["backbone"],
        "total": sum(parameter.numel() for parameter in model.parameters()),
    }
    folder = paths.result(settings.dataset, task, "zero_shot", 0, 0)
    write_attention(folder, *work.attention_maps(model, samples, None))
    write_scores(folder, work, model, samples, record, split)
    folder = paths.results(settings.dataset, task)
    write_json(folder / "source.json", {key: pretrained[key] for key in OF_SOURCE if key in pretrained})
    write_json(folder / "references.json", work.baselines(samples))


def linear_map(task: str, settings: SimpleNamespace) -> None:
    """Write the predictions and scores of the map that is fitted to each run's labelled videos, and of nothing more.

    Raises:
        InputError: the features have no joint space.
    """
    work = work_on(task, settings)
    for shots in settings.runs.shots:
        for seed in settings.runs.seeds:
            split = read_json(paths.split_file(settings.dataset, task, shots, seed))
            train, _ = work.samples(settings.dataset, split["train"])
            samples, _ = work.samples(settings.dataset, split["test"])
            if (model := work.linear_map(train)) is None:
                raise InputError(f"{settings.dataset}: its features have no joint space of pictures and sentences")
            record = UNTRAINED | {
                "strategy": "map", "shots": shots, "seed": seed, "task": task, "backbone": "joint",
                "train_videos": len({sample.vid for sample in train}),
                "total": sum(parameter.numel() for parameter in model.parameters()),
            }  # fmt: skip
            folder = paths.result(settings.dataset, task, "map", shots, seed)
            write_attention(folder, *work.attention_maps(model, samples, None))
            write_scores(folder, work, model.to(chosen_device()), samples, record, split)


def write_scores(
    folder: Path,
    work: Work,
    model: nn.Module,
    samples: Sequence[Any],
    record: dict[str, Any],
    split: dict[str, Any],
) -> None:
    """Predict every sample; write the predictions, and their scores beside what is on record of run and split."""
    rows = work.predict(model, samples)
    write_jsonl(folder / "predictions.jsonl", rows)
    counts = {"n_samples": len(samples), "n_videos": len({sample.vid for sample in samples})}
    rule = {"protocol": split["protocol"], "optimistic": split["optimistic"]}
    scores = work.scores(rows, samples)
    print_warnings(scores)
    write_json(folder / "scores.json", record | rule | counts | scores)


def write_attention(folder: Path, arrays: dict[str, np.ndarray], notes: dict[str, Any]) -> None:
    """Write what a model looked at in each sample."""
    from safetensors.numpy import save_file

    with atomic_path(folder / "attention.safetensors") as draft:
        save_file({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}, draft)
    write_json(folder / "attention.json", notes)


def main() -> None:
    """Command line."""
    parser = task_parser(__doc__)
    told = "an entry of `strategies` in params.yaml, or map, the linear map; without it, the frame"
    parser.add_argument("strategy", nargs="?", help=told)
    arguments = parser.parse_args()
    if arguments.strategy == "map":
        linear_map(arguments.task, arguments.settings)
    elif arguments.strategy:
        evaluate(arguments.task, arguments.strategy, arguments.settings)
    else:
        references(arguments.task, arguments.settings)


if __name__ == "__main__":
    run(main)
