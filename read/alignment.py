"""PVLA on an adapted model: the alignment loss of its bottlenecks, and the plans behind it.

    L = task loss + gamma * (mean over adapted layers and samples of D(s) + contrast * mean over layers of K)

with D(s) the partial alignment cost of `read.transport` between a sample's video and word states. D alone is least
where all states are alike. Against that, K asks which video of the batch a sentence is of, and which sentence a video:

    K = mean over j of -log softmax_i(-R_ij / tau)_j, over the videos and over the sentences, halved
    R_ij = mean over words l of sentence j of min over clips v of video i of c(v, l)

R is D(1) without a limit on what a clip takes, so from below; the softmax is InfoNCE (van den Oord et al. 2018), the
nearest clip of each word that of Yao et al. (FILIP, 2022). Samples of one video are no negatives of each other.

Symbols: B samples, N clips, M words, r width of the states, tau `CONTRAST_TEMPERATURE`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from read import ranks
from read.adapters import alignment_states
from read.adapters.inject import AlignmentStates
from read.errors import InputError
from read.plugins import none_of
from read.settings import check_types
from read.train import Task, moved
from read.transport import Solver, pairwise_cost, partial_distance, partial_transport
from read.transport.loss import COSTS

CONTRAST_TEMPERATURE = 0.1  # in units of the cost
LOOKED_AT = 32  # samples at a time


@dataclass(frozen=True)
class Alignment:
    """How video and words are aligned.

    Attributes:
        gamma: weight of the loss.
        mass: share of the mass that is moved, see `read.transport.partial_transport`.
        cost: see `read.transport.pairwise_cost`.
        solver: see `read.transport.partial_transport`.
        temperature: of the solvers that are not exact; likewise.
        warmup: share of a training's steps in which gamma rises linearly from 0. In the first step a bottleneck's W_up
            is 0, so its W_down has no gradient but the alignment's, which AdamW would follow at full size however
            small gamma is.
        contrast: weight of K beside D, both times gamma.
        centred: the mean state of each modality in the batch is taken off before costs are computed, so that what all
            states share counts for nothing (Mu and Viswanath 2018). Plans then depend on who is in the batch.
    """

    gamma: float = 0.1
    mass: float = 0.5
    cost: str = "cosine"
    solver: str = "exact"
    temperature: float = 0.05
    warmup: float = 0.0
    contrast: float = 0.0
    centred: bool = False

    def __post_init__(self) -> None:
        check_types(self, "alignment")
        _ = self._solver  # a bad name or temperature is told here
        faults = [f"cost {none_of(self.cost, COSTS)}"] * (self.cost not in COSTS)
        for name in ("gamma", "contrast"):
            value = getattr(self, name)
            faults += [f"{name} is {value}, but must be at least 0"] * (not 0 <= value < float("inf"))
        faults += [f"mass is {self.mass}, but must lie in (0, 1]"] * (not 0 < self.mass <= 1)
        faults += [f"warmup is {self.warmup}, but must lie in [0, 1]"] * (not 0 <= self.warmup <= 1)
        if faults:
            raise InputError("alignment: " + "; ".join(faults))

    @property
    def _solver(self) -> Solver:
        return Solver(self.solver, self.temperature)

    def weight(self, progress: float) -> float:
        """Gamma when a share `progress` of the steps is done."""
        return self.gamma * min(1.0, progress / self.warmup) if self.warmup else self.gamma

    def __call__(self, model: nn.Module, vids: Sequence[str] | None = None, progress: float = 1.0) -> Tensor:
        """The weighted loss of the model's last forward.

        Args:
            model: one with a strategy that aligns.
            vids: of each sample, which video it is of; None: all are different.
            progress: the share of the training's steps that is done, for `warmup`; by default gamma is at its full.

        Raises:
            InputError: the strategy is none that aligns, or one side's states depend on nothing that trains.
        """
        layers = self._layers(model)
        _check_both_train(layers)
        loss = self._distance(layers)
        if self.contrast:
            layers = [AlignmentStates(*ranks.gathered(states)) for states in layers]
            own = _same_video(vids, layers[0].video)
            terms = [_contrast(_nearest_clips(states, self.cost), own) for states in layers]
            loss = loss + self.contrast * torch.stack(terms).mean()
        return self.weight(progress) * loss

    def plans(self, model: nn.Module) -> list[np.ndarray]:
        """Which clips are moved onto which words in the last adapted layer, of the model's last forward.

        Returns:
            For each sample the plan (N, M) over its real tokens, whose entries sum to `mass`.

        Raises:
            InputError: the model's strategy is none that aligns.
        """
        states = self._layers(model)[-1]
        masks = (states.video_mask, states.text_mask)
        costs = pairwise_cost(states.video, states.text, self.cost)
        plans = partial_transport(costs, mass=self.mass, mask=masks, solver=self._solver).cpu()
        real = zip(plans, *(mask.cpu() for mask in masks), strict=True)
        return [plan[video][:, text].numpy() for plan, video, text in real]

    def cosines(self, model: nn.Module, vids: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See `cosines`: of the model's last forward, as `own_cosine` and `other_cosine`."""
        pooled = [tuple(ranks.gathered(pair)) for pair in _pooled(model)]
        return {f"{name}_cosine": value for name, value in cosines([pooled], vids).items()}

    def _layers(self, model: nn.Module) -> list[AlignmentStates]:
        """What is aligned, in single precision at least."""
        layers = [
            states._replace(video=states.video.float(), text=states.text.float()) for states in alignment_states(model)
        ]
        if not self.centred:
            return layers
        return [
            states._replace(
                video=_centred(states.video, states.video_mask), text=_centred(states.text, states.text_mask)
            )
            for states in layers
        ]

    def _distance(self, layers: Sequence[AlignmentStates]) -> Tensor:
        """The mean of D over layers and samples, all layers of a shape in one batch: the host is waited for once."""
        shapes: dict[tuple[int, int], list[AlignmentStates]] = {}
        for states in layers:
            shapes.setdefault((states.video.shape[1], states.text.shape[1]), []).append(states)
        parts = []
        for alike in shapes.values():
            costs = [pairwise_cost(z.video, z.text, self.cost, z.video_mask, z.text_mask) for z in alike]
            masks = (torch.cat([z.video_mask for z in alike]), torch.cat([z.text_mask for z in alike]))
            distances = partial_distance(torch.cat(costs), mass=self.mass, mask=masks, solver=self._solver)
            parts.append(distances.view(len(alike), -1))
        return ranks.gathered(torch.cat(parts).mT).mT.flatten().mean()


def cosines(batches: Sequence[list[tuple[Tensor, Tensor]]], vids: Sequence[str] | None = None) -> dict[str, Tensor]:
    """How alike sentences are to videos: whether an alignment tells them apart or draws all together.

    Args:
        batches: for each of some batches, by layer the mean states of every sample: (B, r) of the video, of the words.
        vids: the samples' videos over all batches; None: all are different.

    Returns:
        Mean cosines over layers: `own`, of a sentence with the video that it is about, and where there are several
        videos, `other`, with those that it is not about.
    """
    tables = []
    for parts in zip(*batches, strict=True):
        video, text = (F.normalize(torch.cat(side), dim=-1) for side in zip(*parts, strict=True))
        tables.append(video @ text.mT)
    table = torch.stack(tables).mean(0)
    other = ~_same_video(vids, table)
    found = {"own": table.diagonal().mean()}
    return found | ({"other": table[other].mean()} if len(set(vids or range(len(table)))) > 1 else {})


@torch.no_grad()
def measured_cosines(model: nn.Module, task: Task, samples: Sequence[Any]) -> dict[str, float] | None:
    """`cosines` of a model on samples, in evaluation mode; None where these are of one video only.

    Raises:
        InputError: as `alignment_states`.
    """
    training, device = model.training, next(model.parameters()).device
    samples, batches, vids = task.prepare(model, samples), [], []
    model.eval()
    try:
        for start in range(0, len(samples), LOOKED_AT):
            batch = moved(task.collate(samples[start : start + LOOKED_AT]), device)
            task.forward(model, batch)
            batches.append(_pooled(model))
            vids += batch["vids"]
    finally:
        model.train(training)
    found = {name: value.item() for name, value in cosines(batches, vids).items()}
    return found if "other" in found else None


def _check_both_train(layers: Sequence[AlignmentStates]) -> None:
    for states in layers:
        if states.video.requires_grad != states.text.requires_grad:
            still, other = ("text", "video") if states.video.requires_grad else ("video", "text")
            raise InputError(
                f"alignment: the {still} states depend on nothing that trains, so the {other} alone would be drawn to "
                f"them; adapt layers of the {still} too, such as its input projection (add `projection` to the option "
                "`after`) where the model has one, or take a strategy that does not align, such as read"
            )


def _pooled(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """By layer, the mean states of the videos and of the sentences of the last forward, (B, r) each."""
    return [
        (_mean(states.video, states.video_mask), _mean(states.text, states.text_mask))
        for states in alignment_states(model)
    ]


def _mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """(B, T, r) -> (B, r) over real tokens; padding may hold anything."""
    tokens = tokens.detach().float().masked_fill(~mask[..., None], 0.0)
    return tokens.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def _centred(tokens: Tensor, mask: Tensor) -> Tensor:
    sums = ranks.gathered(tokens.masked_fill(~mask[..., None], 0.0).sum(1))
    return tokens - sums.sum(0) / ranks.gathered(mask.sum(1)).sum().clamp(min=1)


def _same_video(vids: Sequence[str] | None, like: Tensor) -> Tensor:
    """(B, B) True where two samples are of one video."""
    if vids is None:
        return torch.eye(len(like), dtype=torch.bool, device=like.device)
    return torch.tensor([[one == two for two in vids] for one in vids], device=like.device)


def _nearest_clips(states: AlignmentStates, cost: str) -> Tensor:
    """R (B, B): rows are videos, columns sentences."""
    video, video_mask, text, text_mask = states
    flat = (video.flatten(0, 1)[None], text.flatten(0, 1)[None], cost, video_mask.reshape(1, -1))
    costs = (
        pairwise_cost(*flat, text_mask.reshape(1, -1))[0].unflatten(1, text_mask.shape).unflatten(0, video_mask.shape)
    )
    nearest = costs.masked_fill(~video_mask[:, :, None, None], torch.inf).amin(1)
    return (nearest * text_mask).sum(-1) / text_mask.sum(-1)


def _contrast(costs: Tensor, same: Tensor) -> Tensor:
    """K of costs (B, B); `same` (B, B) is True between samples of one video, which are no negatives of each other."""
    target = torch.arange(len(costs), device=costs.device)
    left_out = same & ~torch.eye(len(costs), dtype=torch.bool, device=costs.device)
    logits = (costs / -CONTRAST_TEMPERATURE).masked_fill(left_out, -torch.inf)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.mT, target)) / 2
