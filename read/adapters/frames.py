"""Which tokens of a tower stand for one place of the pictures, or one band of a sound: these are a sequence over time.

Symbols: B samples, T tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from read.adapters.segments import Chains, TokenLayout, among_each_other, lay_out_chains

GRIDS = "grid_thw"  # frames, rows and columns of each video, where all videos' tokens stand in one row


@dataclass(frozen=True)
class Grid:
    """How frames lie among the tokens of a sample.

    Attributes:
        size: tokens of a frame or, where the tokens of a place stand together, frames; of `samples`, frames as well.
        lead: tokens before them that are no picture's, each a sequence of its own.
        order: `frames` one after the other, `places` one after the other, or `samples` that are a frame each.
        apart: of modules in whose outputs they lie otherwise, by the ends of these modules' names.
    """

    size: int
    lead: int = 0
    order: str = "frames"
    apart: "tuple[tuple[str, Grid], ...]" = ()

    def at(self, name: str) -> "Grid":
        """How they lie in the output of a module."""
        return next((grid for end, grid in self.apart if name.endswith(f".{end}")), self)

    def lay_out(self, batch: int, tokens: int, device: torch.device) -> TokenLayout | Chains | None:
        """The tokens of each place as a row; None where the tokens are others, as a pretraining task leaves them."""
        over = batch if self.order == "samples" else tokens - self.lead
        if over % self.size or over <= 0:
            return None
        frames = over // self.size if self.order == "frames" else self.size
        videos = batch // frames if self.order == "samples" else batch
        rows = batch * tokens // videos // frames if self.order == "samples" else self.lead + over // frames
        index = torch.arange(batch * tokens, device=device).view(videos, -1)
        places = torch.arange(videos * rows * frames, device=device).view(videos, rows, frames)
        lead, body = index[:, : self.lead], index[:, self.lead :]
        if self.order == "places":
            body, inner = body.view(videos, -1, frames), places[:, self.lead :]
        else:
            body, inner = body.view(videos, frames, -1).transpose(1, 2), places[:, self.lead :].transpose(1, 2)
        source = torch.cat((torch.nn.functional.pad(lead[..., None], (0, frames - 1)), body), dim=1).flatten(0, 1)
        place = torch.cat((places[:, : self.lead, 0], inner.reshape(videos, -1)), dim=1).view(batch, tokens)
        lengths = torch.full((videos, rows), frames, device=device)
        lengths[:, : self.lead] = 1
        lengths = lengths.flatten()
        return TokenLayout(source, torch.arange(frames, device=device) < lengths[:, None], place, lengths)


@dataclass(frozen=True)
class Folded:
    """A sound's spectrogram as a square: `chunks` of its time one below the other, of each its bands as rows."""

    chunks: int
    order = "folded"

    def at(self, name: str) -> "Folded":
        """As `Grid.at`."""
        return self

    def lay_out(self, batch: int, tokens: int, device: torch.device) -> TokenLayout | Chains | None:
        """As `Grid.lay_out`: each band is a sequence over time."""
        side = isqrt(tokens)
        if side * side != tokens or side % self.chunks:
            return None
        bands = side // self.chunks
        band = torch.arange(tokens, device=device) // side % bands
        return among_each_other(band + bands * torch.arange(batch, device=device)[:, None], None)


@dataclass(frozen=True, eq=False)
class Packed:
    """Videos of `grids` (N, 3) frames, rows and columns, all in one row of tokens."""

    grids: Tensor
    order = "packed"

    def at(self, name: str) -> "Packed":
        """As `Grid.at`."""
        return self

    def lay_out(self, batch: int, tokens: int, device: torch.device) -> TokenLayout | Chains | None:
        """As `Grid.lay_out`."""
        if torch.compiler.is_compiling():
            return Chains(_packed_node(self.grids, batch, tokens).to(device), None)
        chains = self._chains()
        return lay_out_chains(chains[None].to(device), None) if (batch, len(chains)) == (1, tokens) else None

    def _chains(self) -> Tensor:
        """(T,) the place that each token is of."""
        parts, count = [], 0
        for frames, rows, columns in self.grids.tolist():
            parts.append(torch.arange(count, count + rows * columns).repeat(frames))
            count += rows * columns
        return torch.cat(parts)


@torch.library.custom_op("read::packed", mutates_args=())
def _packed_node(grids: Tensor, batch: int, tokens: int) -> Tensor:
    """(B, T) the sequences that tokens are of, in a graph, for which lengths in `grids` are unknown."""
    chains = Packed(grids)._chains().to(grids.device)
    alone = torch.arange(batch, device=grids.device)[:, None].repeat(1, tokens)
    return chains[None] if (batch, len(chains)) == (1, tokens) else alone


@_packed_node.register_fake
def _(grids, batch, tokens):
    return grids.new_empty(batch, tokens, dtype=torch.int64)


def _side(size: Any) -> int:
    return size if isinstance(size, int) else size[-1]


def _patches(config: Any) -> int:
    tube = getattr(config, "patch_size", None) or config.tubelet_size
    image = getattr(config, "crop_size", None) or config.image_size
    return (_side(image) // _side(tube)) ** 2


def _timesformer(config: Any) -> Grid:
    frames = config.num_frames
    if config.attention_type == "space_only":
        return Grid(frames, order="samples")
    over_time = (("temporal_dense", Grid(frames, order="places")), ("attention", Grid(frames, order="samples")))
    return Grid(frames, 1, "places", over_time if config.attention_type == "divided_space_time" else ())


GRIDS_OF: dict[str, Callable[[Any], Grid | Folded]] = {
    "VideoMAEModel": lambda config: Grid(_patches(config)),
    "VJEPA2Encoder": lambda config: Grid(_patches(config)),
    "VivitModel": lambda config: Grid(_patches(config), lead=1),
    "TimesformerEncoder": _timesformer,
    "XCLIPVisionEncoder": lambda config: Grid(config.num_frames, order="samples"),
    "ASTModel": lambda config: Grid((config.max_length - config.patch_size) // config.time_stride + 1, 2, "places"),
    "ClapAudioEncoder": lambda config: Folded(config.spec_size // config.num_mel_bins),
}


def frames_of(module: nn.Module, given: dict[str, Any]) -> Grid | Folded | Packed | None:
    """How frames lie among the tokens of a stack, in a call with these arguments; None where they are one sequence."""
    if isinstance(grids := given.get(GRIDS), Tensor):
        return Packed(grids)
    for kind in type(module).__mro__:
        if kind.__name__ in GRIDS_OF:
            return GRIDS_OF[kind.__name__](getattr(module, "config", None))
    return None
