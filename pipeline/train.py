"""Stage 6: one strategy adapts the backbone to k labelled videos; the best step and learning rate by validation."""

import argparse
import time
from types import SimpleNamespace

from pipeline import paths
from pipeline.cli import add_settings, device_of, run
from pipeline.curves import log_live, write_curve
from pipeline.data import load_samples
from pipeline.strategies import method_of
from read.adapters import save_adapter, trainable_parameters
from read.adapters.strategies.registry import apply_strategy, get_strategy
from read.alignment import Alignment
from read.backbones import Backbone, load_backbone
from read.errors import InputError
from read.files import read_json, write_json
from read.train import TrainSettings, tune


def prepare(strategy: str, settings: SimpleNamespace) -> Backbone:
    """A fresh backbone, frozen and fitted out for a strategy."""
    method, options = method_of(strategy, settings.strategies[strategy])
    options = {"train_head": settings.train.train_head} | options
    model = apply_strategy(method, load_backbone(paths.BACKBONE), **options)
    return model.to(device_of(settings.device))


def train_run(strategy: str, shots: int, seed: int, settings: SimpleNamespace) -> None:
    """Train one run and write what it learned."""
    wanted, split = settings.train, read_json(paths.split_file(settings.dataset, shots, seed))
    train, store = load_samples(settings.dataset, settings, split["train"])
    val, _ = load_samples(settings.dataset, settings, split["val"])
    check_features(store.spec)
    aligns = get_strategy(method_of(strategy, settings.strategies[strategy])[0]).alignment
    budget = TrainSettings(
        steps=wanted.steps, batch_size=wanted.batch_size, eval_every=max(1, wanted.steps // wanted.evaluations)
    )
    began = time.perf_counter()
    tuned = tune(
        lambda: prepare(strategy, settings), train, val, budget, seed, wanted.learning_rates,
        Alignment(**wanted.alignment.model_dump()) if aligns else None,
        on_epoch=print,
    )  # fmt: skip
    folder = paths.adapter(settings.dataset, strategy, shots, seed)
    counts = trainable_parameters(tuned.model)
    save_adapter(tuned.model, folder)
    write_curve(folder / "curve.csv", tuned.history.rows)
    log_live(paths.curves(settings.dataset, strategy, shots, seed), tuned.history.rows[1:])
    write_json(
        folder / "run.json",
        {
            "strategy": strategy, "shots": shots, "seed": seed, "backbone": tuned.model.name,
            "trainable": counts.total, "total": sum(p.numel() for p in tuned.model.parameters()), "share": counts.share,
            "adapter_bytes": (folder / "adapter.safetensors").stat().st_size,
            "learning_rate": tuned.learning_rate, "grid": tuned.trials, "steps": wanted.steps,
            "best_step": tuned.history.best_step, "val_score": tuned.history.best_score,
            "seconds": time.perf_counter() - began, "alignment": wanted.alignment.model_dump() if aligns else None,
        },
    )  # fmt: skip
    print(f"{counts.total} parameters trained, {counts.share:.2%} of the model")


def check_features(spec: dict) -> None:
    """Raise InputError unless the backbone was trained on features of the same extractor."""
    wanted = read_json(paths.BACKBONE / "pretrain.json")["features"]
    if wanted != spec:
        different = ", ".join(key for key in wanted if wanted[key] != spec.get(key))
        raise InputError(f"the backbone was trained on other features than these ({different}); run pretrain again")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strategy", help="an entry of `strategies` in params.yaml")
    parser.add_argument("--shots", type=int, required=True, help="labelled videos to train on")
    parser.add_argument("--seed", type=int, required=True)
    add_settings(parser)
    arguments = parser.parse_args()
    train_run(arguments.strategy, arguments.shots, arguments.seed, arguments.settings)


if __name__ == "__main__":
    run(main)
