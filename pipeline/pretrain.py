"""Stage 5: the backbone, trained on the source domain or taken from a public checkpoint."""

import random
from dataclasses import fields
from types import SimpleNamespace

import torch

from pipeline import paths
from pipeline.cli import device_of, run, settings_parser
from pipeline.curves import write_curve
from pipeline.data import load_samples
from read.backbones import Backbone, build_backbone, get_backbone
from read.data import Sample
from read.errors import InputError
from read.files import write_json
from read.grounding.windows import WindowSettings
from read.train import History, TrainSettings, fit


def divide(samples: list[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Samples to train on and to choose the best step by; never the same video in both."""
    videos = sorted({sample.annotation.vid for sample in samples})
    random.Random(seed).shuffle(videos)
    held_out = set(videos[: max(1, round(share * len(videos)))])
    return (
        [sample for sample in samples if sample.annotation.vid not in held_out],
        [sample for sample in samples if sample.annotation.vid in held_out],
    )


def load_public(backbone: str, checkpoint: str, dims: tuple[int, int], max_clips: int) -> Backbone:
    """The public checkpoint that params.yaml names. Raises InputError where it takes features of other widths."""
    model = get_backbone(backbone).load_published(checkpoint, max_clips=max_clips)
    takes = (model.config.video_dim, model.config.text_dim)
    if takes != dims:
        raise InputError(
            f"{checkpoint}: takes video and text features of widths {takes}, but those extracted have {dims}; "
            "choose the encoders that it was trained with"
        )
    return model


def build(backbone: str, wanted: SimpleNamespace, dims: tuple[int, int]) -> Backbone:
    """A new backbone for features of these widths; `tef` goes to those that know it."""
    sizes = {name: getattr(wanted, name) for name in ("hidden", "layers", "heads", "feed_forward", "max_clips")}
    rates = {"dropout": wanted.dropout, "input_dropout": wanted.dropout}
    known = {field.name for field in fields(get_backbone(backbone).config_class)}
    options = {"tef": wanted.tef} if "tef" in known else {}
    return build_backbone(backbone, video_dim=dims[0], text_dim=dims[1], **sizes, **rates, **options)


def pretrain(model: Backbone, wanted: SimpleNamespace, train: list[Sample], val: list[Sample]) -> History:
    """Train a new backbone and leave it in its best state by validation."""
    budget = TrainSettings(
        steps=wanted.steps, batch_size=wanted.batch_size, learning_rate=wanted.learning_rate,
        eval_every=max(1, wanted.steps // 10),
    )  # fmt: skip
    print(f"{len(train)} queries to train on, {len(val)} to choose the best step by")
    return fit(model, train, val, budget, wanted.seed, on_epoch=print)


def main() -> None:
    """Command line."""
    settings: SimpleNamespace = settings_parser(__doc__).parse_args().settings
    wanted = settings.pretrain
    samples, store = load_samples(settings.source, settings)
    train, val = divide(samples, wanted.val_share, wanted.seed)
    device = device_of(settings.device)
    if wanted.checkpoint is not None:
        model = load_public(settings.backbone, wanted.checkpoint, store.dims, wanted.max_clips).to(device)
        score = validation_score(model, val, WindowSettings())
        history = History([{"step": 0, "score": score}], 0, score)
    else:
        torch.manual_seed(wanted.seed)
        model = build(settings.backbone, wanted, store.dims).to(device)
        history = pretrain(model, wanted, train, val)
    model.save(paths.BACKBONE)
    write_curve(paths.BACKBONE / "curve.csv", history.rows)
    summary = {
        "backbone": settings.backbone,
        "source": settings.source,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "best_step": history.best_step,
        "score": history.best_score,
        "features": store.spec,
    }
    write_json(paths.BACKBONE / "pretrain.json", summary)


if __name__ == "__main__":
    run(main)
