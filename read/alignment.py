"""PVLA on an adapted model: the alignment loss of its bottlenecks, and the plans behind it.

    L = task loss + gamma * mean over adapted layers and samples of D(s)

with D(s) the partial alignment cost of `read.transport` between a sample's video and word states.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from read.adapters import alignment_states
from read.errors import InputError
from read.plugins import none_of
from read.settings import check_types
from read.transport import Solver, pairwise_cost, partial_alignment_loss, partial_transport
from read.transport.loss import COSTS


@dataclass(frozen=True)
class Alignment:
    """How video and words are aligned.

    Attributes:
        gamma: weight of the loss.
        mass: share of the mass that is moved, see `read.transport.partial_transport`.
        cost: see `read.transport.pairwise_cost`.
        solver: see `read.transport.partial_transport`.
        temperature: of the solvers that are not exact; likewise.
    """

    gamma: float = 0.1
    mass: float = 0.5
    cost: str = "cosine"
    solver: str = "exact"
    temperature: float = 0.05

    def __post_init__(self) -> None:
        check_types(self, "alignment")
        _ = self._solver  # a bad name or temperature is told here
        faults = [f"cost {none_of(self.cost, COSTS)}"] * (self.cost not in COSTS)
        faults += [f"gamma is {self.gamma}, but must be at least 0"] * (not self.gamma >= 0)
        faults += [f"mass is {self.mass}, but must lie in (0, 1]"] * (not 0 < self.mass <= 1)
        if faults:
            raise InputError("alignment: " + "; ".join(faults))

    @property
    def _solver(self) -> Solver:
        return Solver(self.solver, self.temperature)

    def __call__(self, model: nn.Module) -> Tensor:
        """The weighted loss of the model's last forward. Raises InputError where its strategy is none that aligns."""
        costs = [
            partial_alignment_loss(
                video.float(),
                text.float(),
                video_mask,
                text_mask,
                mass=self.mass,
                cost=self.cost,
                solver=self._solver,
            )
            for video, video_mask, text, text_mask in alignment_states(model)
        ]
        return self.gamma * torch.stack(costs).mean()

    def plans(self, model: nn.Module) -> list[np.ndarray]:
        """Which clips are moved onto which words in the last adapted layer, of the model's last forward.

        Returns:
            For each sample the plan (N, M) over its real tokens, whose entries sum to `mass`.

        Raises:
            InputError: the model's strategy is none that aligns.
        """
        states = alignment_states(model)[-1]
        masks = (states.video_mask, states.text_mask)
        costs = pairwise_cost(states.video.float(), states.text.float(), self.cost)
        plans = partial_transport(costs, mass=self.mass, mask=masks, solver=self._solver).cpu()
        real = zip(plans, *(mask.cpu() for mask in masks), strict=True)
        return [plan[video][:, text].numpy() for plan, video, text in real]
