"""Stage 6: one strategy adapts the backbone to k labelled videos, on the same terms as any other.

The step and the rate are chosen by cross-validation over the labelled videos (`read.tuning`); of `paper`, by the side
that is reported. `terms` says where a strategy trains, and how much.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from torch import nn

from pipeline import paths
from pipeline.cli import run, task_parser
from pipeline.curves import log_live, write_curve
from pipeline.machine import chosen_device, told
from pipeline.processes import in_processes, processes_of
from pipeline.strategies import method_of
from pipeline.tasks import Work, work_on
from read.adapters import match_budget, save_adapter, trainable_parameters
from read.adapters.places import trained_places
from read.adapters.registry import ALIGNMENT_OPTIONS, apply_strategy, get_strategy
from read.alignment import Alignment, measured_cosines
from read.errors import InputError
from read.files import read_json, sha256_of, write_json
from read.ranks import is_first
from read.train import TrainSettings
from read.tuning import Tuning, tune


class Terms(NamedTuple):
    """What an entry of `strategies` trains: a registered strategy, with options; `budget` where one has sized it."""

    method: str
    options: dict[str, Any]
    budget: int | None


def terms(strategy: str, settings: SimpleNamespace, model: nn.Module) -> Terms:
    """The terms of an entry: its own options, and else those that all entries have in common.

    Args:
        strategy: the entry of `strategies`.
        settings: `train.places` are those of strategies that have places; one that has a size gets that by which it
            trains nearest to `train.budget` parameters, the task heads aside.
        model: a fresh backbone.
    """
    method, own = method_of(strategy, settings.strategies[strategy])
    kind, common = get_strategy(method).of(own), {"train_head": settings.train.train_head}
    if "after" in kind.options:
        common["after"] = settings.train.places
    budget = settings.train.budget if kind.budget and kind.budget not in own else None
    if budget:
        sized = match_budget(method, model, budget, **(common | own | {"train_head": False}))
        common[kind.budget] = sized[kind.budget]
    return Terms(method, common | own, budget)


def prepare(work: Work, method: str, options: dict[str, Any], train: Sequence[Any]) -> nn.Module:
    """A fresh backbone, frozen and fitted out for a strategy that trains on some samples."""
    return apply_strategy(method, work.backbone(train), **options).to(chosen_device())


def train_run(task: str, strategy: str, shots: int, seed: int, settings: SimpleNamespace) -> None:
    """Train one run and write what it learned; of several processes, the first writes."""
    work, wanted, machine = work_on(task, settings), settings.train, told()
    split_file = paths.split_file(settings.dataset, task, shots, seed)
    split = read_json(split_file)
    train, spec = work.samples(settings.dataset, split["train"])
    val, _ = work.samples(settings.dataset, split["val"])
    pretrained = read_json(paths.backbone(task) / "pretrain.json")
    check_features(pretrained["features"], spec)
    method, options, budget = terms(strategy, settings, work.backbone())
    kind = get_strategy(method).of(options)
    complete = kind.complete(options)
    alignment = {name: complete[name] for name in ALIGNMENT_OPTIONS} if kind.alignment else None
    how = TrainSettings(
        steps=wanted.steps,
        batch_size=wanted.batch_size,
        eval_every=max(1, wanted.steps // wanted.evaluations),
        seed=seed,
        precision=machine.precision,
        gradient_checkpointing=machine.gradient_checkpointing,
    )
    folds = 0 if split["optimistic"] else wanted.folds  # of `paper`, the validation side is the reported one
    tuned = tune(
        lambda samples: prepare(work, method, options, samples), work.task(settings.dataset), train, val, how,
        Tuning([rate * kind.rate_scale for rate in wanted.learning_rates], folds),
        Alignment(**alignment) if alignment else None, print,
    )  # fmt: skip
    if not is_first():
        return
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
            "train_videos": len({sample.vid for sample in train}),
            "backbone": pretrained["backbone"], "trainable": counts.total,
            "budget": budget,
            "size": {kind.budget: complete[kind.budget]} if kind.budget else None,
            "places": trained_places(tuned.model),
            "total": sum(p.numel() for p in tuned.model.parameters()), "share": counts.share,
            "adapter_bytes": (folder / "adapter.safetensors").stat().st_size,
            "sha256": sha256_of(folder / "adapter.safetensors"),
            "learning_rate": tuned.learning_rate, "grid": tuned.trials, "steps": wanted.steps,
            "best_step": tuned.history.best_step, "val_score": tuned.history.best_score, "untuned": tuned.untuned,
            "gain": tuned.gain.mean, "gain_se": tuned.gain.error, "folds": tuned.folds,
            "at_edge": tuned.at_edge, "still_rising": tuned.still_rising,
            "alignment": alignment, "alignment_cosine": cosine, "split": paths.name(split_file), "features": spec,
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
    if tuned.at_edge:
        print("the learning rate is at an edge of the grid: a better one may lie beyond")
    if tuned.still_rising:
        print("the score still rose at the last look: more steps may be better")
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
    run_of = (arguments.task, arguments.strategy, arguments.shots, arguments.seed, arguments.settings)
    method, _ = method_of(arguments.strategy, arguments.settings.strategies[arguments.strategy])
    in_processes(processes_of(told(), method), lambda: train_run(*run_of))


if __name__ == "__main__":
    run(main)
