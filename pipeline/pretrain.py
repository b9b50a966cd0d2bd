"""Stage 5: the backbone, trained on the source domain or taken from a public checkpoint."""

import random
from types import SimpleNamespace

from pipeline import paths
from pipeline.cli import device_of, run, settings_parser
from pipeline.curves import write_curve
from pipeline.data import load_samples
from read.backbones import Backbone, build_backbone
from read.backbones.univtg import UniVTG
from read.data import Sample
from read.errors import InputError
from read.files import write_json
from read.predict import WindowSettings
from read.train import History, TrainSettings, fit, validation_score


def divide(samples: list[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Samples to train on and to choose the best step by; never the same video in both."""
    videos = sorted({sample.annotation.vid for sample in samples})
    random.Random(seed).shuffle(videos)
    held_out = set(videos[: max(1, round(share * len(videos)))])
    return (
        [sample for sample in samples if sample.annotation.vid not in held_out],
        [sample for sample in samples if sample.annotation.vid in held_out],
    )


def load_public(wanted: SimpleNamespace, dims: tuple[int, int]) -> Backbone:
    """The public checkpoint that params.yaml names. Raises InputError where it takes features of other widths."""
    if wanted.backbone != UniVTG.name:
        raise InputError(
            f"params.yaml: pretrain.checkpoint: only those of {UniVTG.name} load, not of {wanted.backbone}"
        )
    model = UniVTG.load_published(wanted.checkpoint)
    takes = (model.config.video_dim, model.config.text_dim)
    if takes != dims:
        raise InputError(
            f"{wanted.checkpoint}: takes video and text features of widths {takes}, but those extracted have {dims}; "
            "choose the encoders that it was trained with"
        )
    return model


def pretrain(
    wanted: SimpleNamespace, dims: tuple[int, int], train: list[Sample], val: list[Sample], device: str
) -> tuple[Backbone, History]:
    """A new backbone for features of these widths, trained, in its best state by validation."""
    import torch

    torch.manual_seed(wanted.seed)
    model = build_backbone(
        wanted.backbone, video_dim=dims[0], text_dim=dims[1], hidden=wanted.hidden, layers=wanted.layers,
        heads=wanted.heads, feed_forward=wanted.feed_forward, dropout=wanted.dropout, input_dropout=wanted.dropout,
        tef=False,
    ).to(device)  # fmt: skip
    budget = TrainSettings(
        steps=wanted.steps, batch_size=wanted.batch_size, learning_rate=wanted.learning_rate,
        eval_every=max(1, wanted.steps // 10),
    )  # fmt: skip
    print(f"{len(train)} queries to train on, {len(val)} to choose the best step by")
    return model, fit(model, train, val, budget, wanted.seed, on_epoch=print)


def main() -> None:
    """Command line."""
    settings: SimpleNamespace = settings_parser(__doc__).parse_args().settings
    wanted = settings.pretrain
    samples, store = load_samples(settings.source, settings)
    train, val = divide(samples, wanted.val_share, wanted.seed)
    device = device_of(settings.device)
    if wanted.checkpoint is not None:
        model = load_public(wanted, store.dims).to(device)
        score = validation_score(model, val, WindowSettings())
        history = History([{"step": 0, "score": score}], 0, score)
    else:
        model, history = pretrain(wanted, store.dims, train, val, device)
    model.save(paths.BACKBONE)
    write_curve(paths.BACKBONE / "curve.csv", history.rows)
    summary = {
        "backbone": wanted.backbone,
        "source": settings.source,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "best_step": history.best_step,
        "score": history.best_score,
        "features": store.spec,
    }
    write_json(paths.BACKBONE / "pretrain.json", summary)


if __name__ == "__main__":
    run(main)
