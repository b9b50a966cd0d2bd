"""Predictions of a backbone, with or without adapters: windows in seconds, and a score per clip.

Symbols: B samples, N clips, M words, K windows. Times in seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from read.adapters.wrapped import unwrap
from read.backbones.base import GroundingConfig
from read.backbones.joint_space import JointSpace
from read.data import Sample, collate
from read.data.lazy import read
from read.data.pieces import Piece, pieces
from read.errors import InputError, NotFiniteError
from read.grounding.fusion import CurveFusion
from read.grounding.windows import DIGITS, Reading, WindowSettings, windows_of

INPUTS = ("video", "video_mask", "text", "text_mask")
FINE_DIGITS = 8  # of a curve whose order counts: far from a moment, probabilities differ by little
EXTRA = ("sentence", "correction")  # what `Backbone.reads_sentence` is about


def predict(
    model: nn.Module, samples: Sequence[Sample], windows: WindowSettings | None = None, batch_size: int = 64
) -> list[dict[str, Any]]:
    """Predict every sample, on the device the model is on, in evaluation mode.

    A video of more clips than the model's `max_clips` is read in overlapping pieces, which are then put together.

    Returns:
        One row per sample in QVHighlights' submission form: `qid`, `query`, `vid`, `pred_relevant_windows`
        [[start, end, score], ...] best first, `pred_saliency_scores` one per clip. Besides, where the model has such,
        `pred_clip_scores`, the curve that windows are read off or ranked by, one per clip.

    Raises:
        InputError: as `read_samples`, and `settled`.
    """
    windows = settled(windows or WindowSettings(), model)
    found = read_samples(model, samples, batch_size)
    fusion = CurveFusion.of(model)
    return [prediction_row(sample, readings, windows, fusion) for sample, readings in zip(samples, found, strict=True)]


def settled(windows: WindowSettings, model: nn.Module) -> WindowSettings:
    """`windows` with "auto" decided, as the model's config says, else its class.

    Raises:
        InputError: a way is asked for that the model's outputs do not allow.
    """
    if windows.method == "auto":
        chosen = model.windows if model.config.windows == "auto" else model.config.windows
        windows = replace(windows, method=chosen)
    if windows.method not in (known := ways(model)):
        raise InputError(f"windows: {model.name} cannot be read by {windows.method}, only by {', '.join(known)}")
    return windows


def ways(model: nn.Module) -> list[str]:
    """The ways to read windows off a model: off scores of clips, where there are such; those that it regresses."""
    return ["ladder", "runs"] * (model.dense or model.prior is not None) + ["spans"] * model.regresses


def read_samples(model: nn.Module, samples: Sequence[Sample], batch_size: int = 64) -> Iterator[list[Reading]]:
    """Yield what the model says of the pieces of each sample, whatever windows are then read off it.

    Raises:
        InputError: a video or query without tokens, or with a feature that is not finite; outputs that are not finite.
    """
    parts: list[tuple[Piece, bool]] = []  # and whether it is its sample's last
    for sample in samples:
        _check_counts(sample)
        found = pieces(sample, model.config.max_clips)
        parts += [(piece, piece is found[-1]) for piece in found]
    places, readings = iter(parts), []
    for part, outputs in forward_batches(model, [piece.sample for piece, _ in parts], batch_size):
        tensors = (outputs["spans"], outputs["scores"], model.clip_scores(outputs))
        arrays = [tensor.float().cpu().numpy() for tensor in tensors]
        for sample, *of_sample in zip(part, *arrays, strict=True):
            piece, last = next(places)
            prior = None if model.prior is None else _prior(model.prior, sample)
            readings.append(_reading(sample, piece.start, of_sample, model.dense, prior))
            if last:
                yield readings
                readings = []


def forward_batches(
    model: nn.Module, samples: Sequence[Sample], batch_size: int
) -> Iterator[tuple[Sequence[Sample], dict[str, Any]]]:
    """Yield samples, `batch_size` at a time, with the model's outputs in evaluation mode and without gradients.

    Raises:
        InputError: a feature is not finite; or as `run`.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        for start in range(0, len(samples), batch_size):
            part = samples[start : start + batch_size]
            batch = collate(part, targets=False)
            if not all(torch.isfinite(batch[name]).all() for name in ("video", "text")):
                for sample in part:
                    check(sample)
            with torch.no_grad():
                yield part, run(model, {name: batch[name].to(device) for name in (*INPUTS, *EXTRA) if name in batch})
    finally:
        model.train(training)


def run(model: nn.Module, batch: dict[str, Any]) -> Any:
    """The outputs of a backbone, given what it reads of a batch of `read.data.collate`.

    Raises:
        InputError: it reads the sentence in the joint space, and the features have none.
    """
    backbone = unwrap(model)
    if not backbone.reads_sentence:
        video, *rest = (batch[name] for name in INPUTS)
        video, audio = heard_apart(backbone.config, video)
        return model(video, *rest) if audio is None else model(video, *rest, audio=audio)
    if "sentence" not in batch:
        raise InputError(
            f"{backbone.name} needs an encoder of pictures and sentences in one space, such as clip, and the features "
            "have none; extract them again, or name the package's by `joint` in the card"
        )
    return model(*(batch[name] for name in INPUTS), **{name: batch[name] for name in EXTRA if name in batch})


def heard_apart(config: GroundingConfig, video: Tensor) -> tuple[Tensor, Tensor | None]:
    """Clip features as a model takes them, (B, N, seen_dim), and those of sound, where it reads these apart."""
    if not config.listens or not config.sound_dim:
        return video, None
    before, heard, after = video.split(
        [config.sound_start, config.sound_dim, config.video_dim - config.sound_start - config.sound_dim], dim=-1
    )
    return torch.cat((before, after), dim=-1), heard


def check(sample: Sample) -> None:
    """Read a sample, and raise InputError when it has no clip or no word, or a feature that is not finite."""
    _check_counts(sample)
    for features, label in ((sample.clips, f"video {sample.vid}"), (sample.words, f"query {sample.question.qid}")):
        if not torch.isfinite(read(features)).all():
            raise InputError(f"{label}: its features hold NaN or infinity; extract them again")


def _check_counts(sample: Sample) -> None:
    if not len(sample.clips):
        raise InputError(f"video {sample.vid}: has no clips")
    if not len(sample.words):
        raise InputError(f"query {sample.question.qid}: has no words")


@torch.no_grad()
def _prior(space: JointSpace, sample: Sample) -> np.ndarray:
    if (sentence := sample.sentence) is None:
        raise InputError(f"query {sample.question.qid}: the model weighs in a joint space, and the features have none")
    device = space.video_mean.device
    return space.curve(sample.video[None].to(device), sentence[None].to(device))[0].cpu().numpy()


def _reading(
    sample: Sample, start: int, arrays: Sequence[np.ndarray], dense: bool, prior: np.ndarray | None
) -> Reading:
    clips = len(sample.clips)
    stop = clips if dense else None  # a dense backbone has a window per clip, padding included
    spans, scores, saliency = arrays
    reading = Reading(start, spans[:stop], scores[:stop], saliency[:clips], prior)
    if not all(np.isfinite(array).all() for array in reading[1:] if array is not None):
        raise NotFiniteError(f"query {sample.question.qid}: the model's outputs hold NaN or infinity")
    return reading


def prediction_row(
    sample: Sample, readings: Sequence[Reading], settings: WindowSettings, fusion: CurveFusion
) -> dict[str, Any]:
    """What is predicted of a sample, from what the model said of its pieces; see `predict`."""
    question = sample.question
    curves = None if settings.method == "spans" and not fusion.dense else fusion.curves(readings)
    return {
        "qid": question.qid,
        "query": question.query,
        "vid": question.vid,
        "pred_relevant_windows": windows_of(readings, curves, sample.clip_len, question.duration, settings),
        "pred_saliency_scores": fusion.saliency(readings).astype(float).round(DIGITS).tolist(),
    } | ({} if curves is None else {"pred_clip_scores": curves.curve.astype(float).round(FINE_DIGITS).tolist()})
