"""Stage 5: the model that is adapted, trained on the source domain or taken from a public checkpoint."""

import random
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import torch

from pipeline import paths
from pipeline.cli import run, task_parser
from pipeline.curves import write_curve
from pipeline.data import labels_file
from pipeline.machine import chosen_device, told
from pipeline.processes import in_processes, processes_of
from pipeline.tasks import print_warnings, work_on
from read.errors import InputError
from read.files import read_jsonl, sha256_of, write_json
from read.ranks import is_first
from read.train import History, TrainSettings, fit


def divide(samples: list[Any], share: float, seed: int, named: Collection[str] = ()) -> tuple[list[Any], list[Any]]:
    """Samples to train on and to choose the best step by; never the same video in both.

    The latter are of the videos `named`, where some are: others may show what these show, as stitched ones do.
    """
    videos = sorted({sample.vid for sample in samples})
    random.Random(seed).shuffle(videos)
    held_out = set(named) & set(videos) or set(videos[: max(1, round(share * len(videos)))])
    return (
        [sample for sample in samples if sample.vid not in held_out],
        [sample for sample in samples if sample.vid in held_out],
    )


def named_val(task: str, source: str) -> set[str]:
    """Videos of the source that its labels call its validation side."""
    return {row["vid"] for row in read_jsonl(labels_file(task, source)) if row.get("split") == "val"}


def pretrain(task: str, settings: SimpleNamespace, own: bool) -> None:
    """Train or take the model, and write it. Of several processes, the first settles and writes.

    `own`: the source is the dataset itself (`Params.own_source`).

    Raises:
        InputError: so it is, and the model would be trained on it.
    """
    work, machine = work_on(task, settings), told()
    wanted, device = settings.pretrain, chosen_device()
    torch.manual_seed(wanted.seed)
    model, samples, spec, steps = work.source()
    if own and steps:
        raise InputError(f"source: {settings.source} is the dataset itself; pretraining would see the test videos")
    model.to(device)
    train, val = divide(samples, wanted.val_share, wanted.seed, named_val(task, settings.source))
    if steps:
        print(f"{len(train)} samples to train on, {len(val)} to choose the best step by")
        budget = TrainSettings(
            steps, wanted.batch_size, wanted.learning_rate, eval_every=max(1, steps // 10), seed=wanted.seed,
            precision=machine.precision, gradient_checkpointing=machine.gradient_checkpointing,
        )  # fmt: skip
        history = fit(model, work.pretraining(model, train), train, val, budget, on_epoch=print)
    if not is_first():
        return
    settled = work.settle(model, train, val, own)
    if not steps:
        score = work.task(settings.source).score(model, val)
        history = History([{"step": 0, "score": score}], 0, score)
    print_warnings(settled)
    work.save(model)
    folder = paths.backbone(task)
    write_curve(folder / "curve.csv", history.rows)
    summary = {
        "backbone": settings.backbone,
        "source": settings.source,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sha256": sha256_of(folder / "model.safetensors"),
        "best_step": history.best_step,
        "score": history.best_score,
        "features": spec,
        **settled,
    }
    if commit := getattr(model, "commit", None):  # of the hub; a name without @<commit> may mean another tomorrow
        summary |= {"commit": commit, "pinned": settings.backbone.endswith(f"@{commit}")}
    write_json(folder / "pretrain.json", summary)


def main() -> None:
    """Command line."""
    parser = task_parser(__doc__)
    parser.add_argument("--own-source", action="store_true", help="the source is the dataset itself: look at nothing")
    arguments = parser.parse_args()
    in_processes(processes_of(told()), lambda: pretrain(arguments.task, arguments.settings, arguments.own_source))


if __name__ == "__main__":
    run(main)
