"""Which tokens of a tower that sees videos stand for one place of the picture: these are a sequence over time.

Symbols: B samples, T tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

GRIDS = "grid_thw"  # frames, rows and columns of each video, where all videos' tokens stand in one row


@dataclass(frozen=True)
class Grid:
    """How frames lie among the tokens of a sample.

    Attributes:
        size: tokens of a frame or, where the tokens of a place stand together, frames; of `samples`, frames as well.
        lead: tokens before them that are no picture's, each a sequence of its own.
        order: `frames` one after the other, `places` one after the other, or `samples` that are a frame each.
    """

    size: int
    lead: int = 0
    order: str = "frames"

    def chains(self, batch: int, tokens: int) -> tuple[Tensor, int] | None:
        """(B, T) which sequence each token is of, and how many there are; None where the tokens are others.

        That is so where a pretraining task drops some of them.
        """
        samples, token = torch.arange(batch)[:, None], torch.arange(tokens)
        if self.order == "samples":
            whole = batch % self.size == 0
            return (samples // self.size * tokens + token, batch // self.size * tokens) if whole else None
        inner = token - self.lead
        if (tokens - self.lead) % self.size:
            return None
        place = inner % self.size if self.order == "frames" else inner // self.size
        places = self.size if self.order == "frames" else (tokens - self.lead) // self.size
        chain = torch.where(inner < 0, token, self.lead + place)
        return samples * (self.lead + places) + chain, batch * (self.lead + places)


@dataclass(frozen=True, eq=False)
class Packed:
    """Videos of `grids` (N, 3) frames, rows and columns, all in one row of tokens."""

    grids: Tensor

    def chains(self, batch: int, tokens: int) -> tuple[Tensor, int] | None:
        """As `Grid.chains`."""
        parts, count = [], 0
        for frames, rows, columns in self.grids.tolist():
            parts.append(torch.arange(count, count + rows * columns).repeat(frames))
            count += rows * columns
        chains = torch.cat(parts)
        return (chains[None], count) if (batch, len(chains)) == (1, tokens) else None


def _side(size: Any) -> int:
    return size if isinstance(size, int) else size[-1]


def _patches(config: Any) -> int:
    tube = getattr(config, "patch_size", None) or config.tubelet_size
    image = getattr(config, "crop_size", None) or config.image_size
    return (_side(image) // _side(tube)) ** 2


GRIDS_OF: dict[str, Callable[[Any], Grid]] = {
    "VideoMAEModel": lambda config: Grid(_patches(config)),
    "VJEPA2Encoder": lambda config: Grid(_patches(config)),
    "VivitModel": lambda config: Grid(_patches(config), lead=1),
    "TimesformerEncoder": lambda config: Grid(config.num_frames, lead=1, order="places"),
    "XCLIPVisionEncoder": lambda config: Grid(config.num_frames, order="samples"),
}


def frames_of(module: nn.Module, given: dict[str, Any]) -> Grid | Packed | None:
    """How frames lie among the tokens of a stack, in a call with these arguments; None where they are one sequence."""
    if isinstance(grids := given.get(GRIDS), Tensor):
        return Packed(grids)
    for kind in type(module).__mro__:
        if kind.__name__ in GRIDS_OF:
            return GRIDS_OF[kind.__name__](getattr(module, "config", None))
    return None
