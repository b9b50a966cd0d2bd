"""Stage 6: one strategy adapts the backbone to k labelled videos, at a step and a rate that `read.tuning` chooses.

With few labelled videos by cross-validation over all of them, else by the validation side.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from torch import nn

from pipeline import paths
from pipeline.cli import run, task_parser
from pipeline.curves import log_live, write_curve
from pipeline.machine import chosen_device
from pipeline.strategies import method_of
from pipeline.tasks import Work, work_on
from read.adapters import save_adapter, trainable_parameters
from read.adapters.registry import ALIGNMENT_OPTIONS, apply_strategy, get_strategy
from read.alignment import Alignment, measured_cosines
from read.errors import InputError
from read.files import read_json, sha256_of, write_json
from read.train import TrainSettings
from read.tuning import cross_validate, tune

FEW_VIDEOS = 16  # that train, up to which a validation side of a part of them chooses worse than no training does


def prepare(work: Work, strategy: str, settings: SimpleNamespace, train: Sequence[Any]) -> nn.Module:
    """A fresh backbone, frozen and fitted out for a strategy that trains on some samples."""
    method, options = method_of(strategy, settings.strategies[strategy])
    options = {"train_head": settings.train.train_head} | options
    return apply_strategy(method, work.backbone(train), **options).to(chosen_device())


def train_run(task: str, strategy: str, shots: int, seed: int, settings: SimpleNamespace) -> None:
    """Train one run and write what it learned."""
    work, wanted = work_on(task, settings), settings.train
    split_file = paths.split_file(settings.dataset, task, shots, seed)
    split = read_json(split_file)
    train, spec = work.samples(settings.dataset, split["train"])
    val, _ = work.samples(settings.dataset, split["val"])
    pretrained = read_json(paths.backbone(task) / "pretrain.json")
    check_features(pretrained["features"], spec)
    method, options = method_of(strategy, settings.strategies[strategy])
    chosen = get_strategy(method).complete(options)
    alignment = {name: chosen[name] for name in ALIGNMENT_OPTIONS} if get_strategy(method).alignment else None
    budget = TrainSettings(
        steps=wanted.steps,
        batch_size=wanted.batch_size,
        eval_every=max(1, wanted.steps // wanted.evaluations),
        seed=seed,
    )
    train_videos = len({sample.vid for sample in train})
    few = train_videos <= FEW_VIDEOS and not split["optimistic"]  # of `paper`, the validation side is the reported one
    tuned = (cross_validate if few else tune)(
        lambda samples: prepare(work, strategy, settings, samples), work.task(settings.dataset), train, val, budget,
        wanted.learning_rates, Alignment(**alignment) if alignment else None, print,
    )  # fmt: skip
    for trial in tuned.trials:
        if trial["score"] is None:
            print(f"at a learning rate of {trial['learning_rate']:g} the loss diverges; it is out of the race")
    folder = paths.adapter(settings.dataset, task, strategy, shots, seed)
    counts = trainable_parameters(tuned.model)
    cosine = measured_cosines(tuned.model, work.task(settings.dataset), train) if alignment else None
    save_adapter(tuned.model, folder)
    write_curve(folder / "curve.csv", tuned.history.rows)
    log_live(paths.curves(settings.dataset, task, strategy, shots, seed), tuned.history.rows[1:])
    write_json(
        folder / "run.json",
        {
            "dataset": settings.dataset, "task": task, "strategy": strategy, "shots": shots, "seed": seed,
            "train_videos": train_videos,
            "backbone": pretrained["backbone"], "trainable": counts.total,
            "total": sum(p.numel() for p in tuned.model.parameters()), "share": counts.share,
            "adapter_bytes": (folder / "adapter.safetensors").stat().st_size,
            "sha256": sha256_of(folder / "adapter.safetensors"),
            "learning_rate": tuned.learning_rate, "grid": tuned.trials, "steps": wanted.steps,
            "best_step": tuned.history.best_step, "val_score": tuned.history.best_score, "untuned": tuned.untuned,
            "gain": tuned.gain.mean, "gain_se": tuned.gain.error, "folds": tuned.folds,
            "alignment": alignment, "alignment_cosine": cosine, "split": split_file.as_posix(), "features": spec,
        },
    )  # fmt: skip
    if tuned.untuned:
        error = "" if tuned.gain.error is None else f" with a standard error of {tuned.gain.error:.2f}"
        print(f"the untuned state is kept: training gained {tuned.gain.mean:.2f}{error}")
    if cosine:
        print(
            "mean cosine of a sentence with videos: "
            + ", ".join(f"{name} {value:.2f}" for name, value in cosine.items())
        )
    print(f"{counts.total} parameters trained, {counts.share:.2%} of the model")


def check_features(wanted: dict | None, spec: dict) -> None:
    """Raise InputError unless the backbone was trained on features of the same extractor, where that is known.

    Packages of two datasets are two files of the same features where their layouts are the same.
    """
    if wanted is None:
        return
    different = sorted(key for key in wanted.keys() | spec.keys() if _maker(wanted).get(key) != _maker(spec).get(key))
    if different:
        raise InputError(
            f"the backbone was trained on other features than these ({', '.join(different)}); run pretrain again, "
            "on a source whose features are made as the dataset's"
        )


def _maker(spec: dict) -> dict:
    package = spec.get("package")
    return spec | {"package": package["layout"]} if package else spec


def main() -> None:
    """Command line."""
    parser = task_parser(__doc__)
    parser.add_argument("strategy", help="an entry of `strategies` in params.yaml")
    parser.add_argument("--shots", type=int, required=True, help="labelled videos to train on")
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    train_run(arguments.task, arguments.strategy, arguments.shots, arguments.seed, arguments.settings)


if __name__ == "__main__":
    run(main)
