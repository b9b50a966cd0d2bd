"""SlowFast: one feature of motion per clip (Feichtenhofer et al. 2019), with pytorchvideo's published weights.

Symbols: n clips, T frames in a clip, S their side in pixels, F frames that the fast pathway takes, d width.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import Tensor

from read.encoders.base import Encoder, Material, Wants
from read.encoders.slowfast_network import SlowFastNetwork
from read.encoders.weights import WEIGHTS, download, read_config, save_folder
from read.errors import InputError
from read.weights import check_fit, load_tensors, read_checkpoint, state_digest

READS = ("frames",)
OPTIONS = {
    "pretrained": None,  # "kinetics", or an address or a file of SLOWFAST_8x8_R50; null trains the small model
    "size": 256,  # pixels of its pictures' sides, as its authors test it; 224 is how QVHighlights' features were made
    "steps": 150,
    "seed": 0,
}
TINY, KINETICS = "slowfast_tiny", "slowfast_8x8_r50"
KINETICS_URL = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth"
_HEAD = "blocks.6."  # pytorchvideo's classifier, which features do without


class SlowFast(Encoder):
    """A SlowFast network without its classifier, and how its two inputs are made from a clip.

    Args:
        network: (slow, fast) -> (n, d).
        config: "name", "size" (S), "frames" (F), "alpha" (fast frames per slow one), "fast_input" ("frames" or
            "differences" of neighbouring frames), "mean", "std", "model" (arguments of `SlowFastNetwork`).
        device: where it runs.
    """

    reads = READS

    def __init__(self, network: SlowFastNetwork, config: dict[str, Any], device: str | torch.device = "cpu"):
        self.network, self.config, self.device = network.to(device).eval(), config, torch.device(device)
        self.dim = network.width
        self.wants = _wants(config)
        self._mean, self._std = (torch.tensor(config[key], device=device).view(3, 1, 1, 1) for key in ("mean", "std"))
        self.identity = {**config, "weights": state_digest(network.state_dict()), "dim": self.dim}

    @classmethod
    def create(cls, name: str, device: str | torch.device = "cpu") -> Self:
        """The shipped configuration `name`, with random weights."""
        config = _config(name)
        return cls(_build(config), config, device)

    @classmethod
    def wanted(cls, options: Mapping[str, Any]) -> Wants:
        """Of the published network as many frames as it learned from, of the small one what there is."""
        return _wants(_config(TINY) if options["pretrained"] is None else _config(KINETICS) | {"size": options["size"]})

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """As `pretrained`, or the small model, trained by classification of motion."""
        if options["pretrained"] is None:
            rest = {"steps": options["steps"], "seed": options["seed"], "device": material.device}
            return material.small.train_slowfast(material.footage(_config(TINY)["size"]), material.clip_frames, **rest)
        checkpoint = KINETICS_URL if options["pretrained"] == "kinetics" else options["pretrained"]
        if checkpoint.startswith(("http://", "https://")):
            checkpoint = download(checkpoint, material.folder / Path(urlsplit(checkpoint).path).name)
        return cls.pretrained(checkpoint, material.device, options["size"])

    @classmethod
    def public(cls, model: str, pretrained: str | None) -> str | None:
        """An address; a file of this machine is nowhere else."""
        address = KINETICS_URL if pretrained == "kinetics" else pretrained or ""
        return address if model == KINETICS and address.startswith("https://") else None

    @classmethod
    def fetch(cls, identity: Mapping[str, Any], source: str, room: Path) -> Self:
        """As `pretrained`, from an address."""
        return cls.pretrained(download(source, room / "checkpoint"), size=identity["size"])

    @classmethod
    def pretrained(
        cls, checkpoint: str | Path, device: str | torch.device = "cpu", size: int = OPTIONS["size"]
    ) -> Self:
        """SLOWFAST_8x8_R50 with the weights in pytorchvideo's published file (see `KINETICS_URL`).

        Its pictures have `size` pixels a side.

        Raises:
            InputError: the file is missing, damaged or of another model.
        """
        slowfast = cls.create(KINETICS)
        state, _ = read_checkpoint(checkpoint)
        _load({key: value for key, value in state.items() if not key.startswith(_HEAD)}, slowfast.network, checkpoint)
        return cls(slowfast.network, slowfast.config | {"size": size}, device)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """What `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        config = read_config(folder)
        network = _build(config)
        _load(load_tensors(Path(folder) / WEIGHTS), network, folder)
        return cls(network, config, device)

    def save(self, folder: str | Path) -> None:
        """Write weights and config into `folder`."""
        save_folder(folder, self.network.state_dict(), self.config)

    @torch.inference_mode()
    def video(self, clips: np.ndarray) -> np.ndarray:
        """Features of clips, uint8 (n, T, S, S, 3) -> float32 (n, d), pooled over space and time."""
        return self.features(torch.from_numpy(clips).to(self.device)).float().cpu().numpy()

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """As `video`, on tensors and with gradients."""
        return self.network(*self.pathways(clips))

    def pathways(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The slow (n, 3, F / alpha, S, S) and the fast (n, 3, F, S, S) input made from uint8 (n, T, S, S, 3)."""
        count, alpha = self.config["frames"], self.config["alpha"]
        chosen = torch.linspace(0, clips.shape[1] - 1, count).round().long()
        frames = clips[:, chosen.to(clips.device)].movedim(-1, 1).contiguous().float()
        frames = frames.mul_(1 / (255 * self._std)).sub_(self._mean / self._std)  # in place: memory is what costs here
        slow = frames[:, :, torch.linspace(0, count - 1, count // alpha).long().to(clips.device)]
        if self.config["fast_input"] == "differences":
            frames = torch.diff(frames, dim=2, prepend=frames[:, :, :1])
        return slow, frames


def _config(name: str) -> dict[str, Any]:
    return {"name": name, **json.loads((Path(__file__).parents[1] / "configs" / f"{name}.json").read_text("utf-8"))}


def _wants(config: dict[str, Any]) -> Wants:
    """The published network would see frames twice of a clip that has fewer than it learned from."""
    return Wants(config["size"], frames=config["frames"] if config["name"] == KINETICS else 1)


def _build(config: dict[str, Any]) -> SlowFastNetwork:
    if config["frames"] % config["alpha"]:
        raise InputError(f"frames {config['frames']}: not a whole multiple of alpha {config['alpha']}")
    return SlowFastNetwork(**config["model"], alpha=config["alpha"])


def _load(state: dict[str, Tensor], network: SlowFastNetwork, source: str | Path) -> None:
    check_fit(state, network.state_dict(), source, "this SlowFast")
    network.load_state_dict(state)


ENCODER = SlowFast
