"""Training: one loop for pretraining and for every fine-tuning strategy, whatever the task.

Only parameters that require a gradient train. Dropout and
drop-path stay as published in every strategy, frozen parts included: they are the only augmentation that a few dozen
samples get, and all strategies are compared under the same noise.

Where `torch.distributed` is set up, each process takes its part of every batch; see `read.ranks`.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from read import ranks
from read.errors import InputError, NotFiniteError
from read.recomputed import recomputed
from read.settings import check_types

Row = dict[str, Any]


class AlignmentTerm(Protocol):
    """A term that is added to the task's loss, of the model's last forward: `read.alignment.Alignment` is one."""

    def __call__(self, model: nn.Module, vids: Sequence[str] | None, progress: float) -> Tensor:
        """The weighted loss, given the samples' videos and the share of the steps that is done."""

    def cosines(self, model: nn.Module, vids: Sequence[str] | None) -> dict[str, Tensor]:
        """What is told of the states beside it, by name, each a scalar."""


class Task(Protocol):
    """All that tasks differ in. What a sample is, only the task knows; all have the id of their video as `vid`."""

    def prepare(self, model: nn.Module, samples: Sequence[Any]) -> list[Any]:
        """Samples to train on, in pieces that the model takes. Raises InputError for one that is no good."""

    def collate(self, samples: Sequence[Any]) -> Row:
        """A batch of tensors and lists with a row for each sample; its tensors are moved to the model's device.

        `vids` names the samples' videos.
        """

    def forward(self, model: nn.Module, batch: Row) -> Any:
        """What the losses need of the model: tensors with a row for each sample, by name or one alone.

        It is in the precision of the training. What compares samples does so by `read.ranks.gathered`.
        """

    def losses(self, model: nn.Module, outputs: Any, batch: Row) -> dict[str, Tensor]:
        """The weighted terms of the loss, by name, each a scalar."""

    def score(self, model: nn.Module, samples: Sequence[Any]) -> float:
        """The number that chooses states and learning rates; higher is better. `samples` are as `fit` was given.

        Work that is divisible goes through `read.ranks.work_shared`.
        """

    def score_videos(self, model: nn.Module, samples: Sequence[Any]) -> dict[str, float]:
        """The same number of each video's samples alone, by the video's id; only `read.tuning` asks for it."""


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Attributes:
        steps: optimiser steps.
        batch_size: at most this many samples a step; an epoch is divided into batches of about equal size.
        learning_rate: the highest, of AdamW; times the model's `rate_scale`, where it has one.
        clip_norm: the gradient's highest norm.
        warmup: share of the steps in which the learning rate rises linearly.
        schedule: what follows: "cosine" down to zero, or "constant".
        eval_every: steps between two validations; the state before the first step is validated too.
        seed: of the order of samples and of dropout, and where `read.tuning.tune` builds models, of their fresh parts.
        precision: of the forward pass: "auto" is bfloat16 on a GPU, and single else.
        gradient_checkpointing: transformer layers are computed again in the backward pass, for memory.
    """

    steps: int = 200
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    warmup: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    eval_every: int = 25
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        check_types(self, "train")
        for name in ("steps", "batch_size", "eval_every"):
            if getattr(self, name) < 1:
                raise InputError(f"train: {name} {getattr(self, name)} must be at least 1")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"train: {name} {getattr(self, name)} must be positive")
        if self.weight_decay < 0 or not 0 <= self.warmup <= 1:
            raise InputError("train: weight_decay must be at least 0, and warmup a share from 0 to 1")


@dataclass
class History:
    """What a run went through: one row per validation, and the step and score of the best."""

    rows: list[Row] = field(default_factory=list)
    best_step: int = 0
    best_score: float = -math.inf


def fit(
    model: nn.Module,
    task: Task,
    train: Sequence[Any],
    val: Sequence[Any],
    settings: TrainSettings,
    alignment: AlignmentTerm | None = None,
    on_epoch: Callable[[Row], None] | None = None,
) -> History:
    """Train `model` in place, on the device it is on, and leave it in its best state by validation.

    The same seed gives the same result on a CPU. The caller's random state is left as it was. Of several processes all
    call it, with the same arguments but for the device; the result is that of one, up to rounding and dropout.

    Args:
        model: one of the task's, with or without adapters.
        task: what is learned, as `read.grounding.task.Grounding`.
        train: samples to train on, in each process all.
        val: samples by which the best state is chosen.
        settings: how.
        alignment: a term to add to the loss, such as a `read.alignment.Alignment`.
        on_epoch: called with every row of the history: `step`, `score`, `seconds`, and since the last row the means of
            `loss` and of each of its terms and what `alignment` tells, and the `learning_rate`. Of several processes,
            the first alone calls it.

    Raises:
        InputError: nothing to train, no samples, or a sample that is no good; processes were given different ones.
        NotFiniteError: a loss is not finite, and the message names the step and the term; or a prediction.
    """
    return _fit(model, task, train, val, settings, alignment, on_epoch, settings.steps)


def train_until(
    model: nn.Module,
    task: Task,
    train: Sequence[Any],
    settings: TrainSettings,
    step: int,
    alignment: AlignmentTerm | None = None,
    on_epoch: Callable[[Row], None] | None = None,
) -> None:
    """Train `model` in place as `fit` does, to one step of the same schedule and without looking at any validation.

    Rows for `on_epoch` are those of `fit` without `score`. Raises as `fit`.
    """
    _fit(model, task, train, None, settings, alignment, on_epoch, step)


def _fit(
    model: nn.Module,
    task: Task,
    train: Sequence[Any],
    val: Sequence[Any] | None,
    settings: TrainSettings,
    alignment: AlignmentTerm | None,
    on_epoch: Callable[[Row], None] | None,
    last_step: int,
) -> History:
    """Both ways to train; without `val` the model is left in its last state."""
    _check(model, train, val)
    prepared, device = task.prepare(model, train), next(model.parameters()).device
    told = on_epoch if on_epoch and ranks.is_first() else lambda row: None
    seen = [getattr(sample, "vid", sample) for sample in (*train, *(val or ()))]
    with (
        ranks.forked(device),
        ranks.together(model, settings, seen),
        recomputed(model, settings.gradient_checkpointing),
    ):
        torch.manual_seed(settings.seed)
        return _loop(model, task, prepared, val, settings, alignment, told, last_step)


def _loop(
    model: nn.Module,
    task: Task,
    train: Sequence[Any],
    val: Sequence[Any] | None,
    settings: TrainSettings,
    alignment: AlignmentTerm | None,
    on_epoch: Callable[[Row], None],
    last_step: int,
) -> History:
    trained = _trained(model)
    parameters = list(trained.values())
    rate = settings.learning_rate * getattr(model, "rate_scale", 1.0)
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, settings))
    history, best, began = History(), {}, time.perf_counter()
    seen: dict[str, list[Tensor]] = {}
    batches = _batches(train, settings.batch_size, settings.seed, task.collate)
    model.train()
    for step in range(last_step + 1):
        if step % settings.eval_every == 0 or step == last_step:
            means = {name: float(torch.stack(values).mean()) for name, values in seen.items()}
            score = {} if val is None else {"score": ranks.agreed(task.score(model, val))}
            row: Row = {"step": step, **score, **means}
            row |= {"learning_rate": schedule.get_last_lr()[0], "seconds": time.perf_counter() - began}
            history.rows.append(row)
            if val is not None and row["score"] > history.best_score:
                history.best_step, history.best_score = step, row["score"]
                best = {name: parameter.detach().clone() for name, parameter in trained.items()}
            on_epoch(row)
            seen = {}
        if step == last_step:
            break
        batch = next(batches)
        with ranks.divided(batch, settings.seed, step):
            terms = loss_terms(model, task, batch, alignment, step / settings.steps, settings.precision)
            loss = _total(terms, step)
            told = terms | {"loss": loss} | (alignment.cosines(model, batch.get("vids")) if alignment else {})
            optimizer.zero_grad()
            ranks.share(loss).backward()
        ranks.sum_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        optimizer.step()
        schedule.step()
        for name, value in told.items():
            seen.setdefault(name, []).append(value.detach())
    with torch.no_grad():
        for name, value in best.items():
            trained[name].copy_(value)
    model.eval()
    return history


def _check(model: nn.Module, train: Sequence[Any], val: Sequence[Any] | None = None) -> None:
    if not _trained(model):
        raise InputError("train: the model has no parameter that requires a gradient; nothing would train")
    if not train or (val is not None and not val):
        looked = "" if val is None else f", {len(val)} to validate on; neither may be empty"
        raise InputError(f"train: {len(train)} samples to train on{looked}")


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def loss_terms(
    model: nn.Module,
    task: Task,
    batch: Row,
    alignment: AlignmentTerm | None = None,
    progress: float = 1.0,
    precision: str = "auto",
) -> dict[str, Tensor]:
    """The weighted terms of the loss on a batch of the task's `collate`; their sum is the loss.

    `progress` is the share of the training's steps that is done, 0 in the first; for `precision` see `TrainSettings`.
    """
    device = next(model.parameters()).device
    batch = moved(batch, device)
    half = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    with ranks.own_noise(device), torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
        outputs = ranks.gathered(task.forward(model, ranks.own(batch)))
    terms = task.losses(model, outputs, batch)
    if alignment:
        terms["alignment"] = alignment(model, batch.get("vids"), progress)
    return terms


def moved(batch: Row, device: torch.device) -> Row:
    """The batch with its tensors on `device`."""
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def _total(terms: dict[str, Tensor], step: int) -> Tensor:
    values = torch.stack(list(terms.values()))
    loss, known = values.sum(), ranks.mean(values.detach())
    if not torch.isfinite(known.sum()):
        named = zip(terms, known.tolist(), strict=True)
        faults = ", ".join(f"{name} is {term}" for name, term in named if not math.isfinite(term))
        raise NotFiniteError(f"train: the loss is not finite at step {step}: {faults}; try a lower learning rate")
    return loss


def _share(step: int, settings: TrainSettings) -> float:
    """The learning rate of a step, as a share of the highest."""
    warmup = max(1, round(settings.warmup * settings.steps))
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, settings.steps - warmup)))


def _batches(
    samples: Sequence[Any], batch_size: int, seed: int, collate: Callable[[Sequence[Any]], Row]
) -> Iterator[Row]:
    """Endless batches: epoch after epoch in a new order, each divided evenly."""
    generator = torch.Generator().manual_seed(seed)
    count = math.ceil(len(samples) / batch_size)
    while True:
        order = torch.randperm(len(samples), generator=generator)
        for part in order.tensor_split(count):
            yield collate([samples[index] for index in part.tolist()])
