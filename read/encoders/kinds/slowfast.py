"""SlowFast through pytorchvideo: one feature of motion per clip (Feichtenhofer et al. 2019).

Symbols: n clips, T frames in a clip, S their side in pixels, F frames that the fast pathway takes, d width.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import Tensor, nn

from read.encoders.base import Encoder, Material, Wants
from read.encoders.weights import WEIGHTS, download, read_config, save_folder
from read.errors import optional_imports
from read.weights import check_fit, load_tensors, read_checkpoint, state_digest

with optional_imports():
    from pytorchvideo.models.slowfast import create_slowfast

READS = ("frames",)
OPTIONS = {
    "pretrained": None,  # "kinetics", or an address or a file of SLOWFAST_8x8_R50; null trains the small model
    "steps": 150,
    "seed": 0,
}
TINY, KINETICS = "slowfast_tiny", "slowfast_8x8_r50"
KINETICS_URL = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth"
SIZES = {TINY: 64, KINETICS: 256}  # of the pictures: the small one learns from these; as the published was tested
_HEAD = "blocks.6."  # pytorchvideo's classifier, which features do without


class SlowFast(Encoder):
    """A SlowFast network without its classifier, and how its two inputs are made from a clip.

    Args:
        network: (slow, fast) -> (n, d).
        config: "name", "frames" (of the fast pathway), "alpha" (fast frames per slow one), "fast_input" ("frames" or
            "differences" of neighbouring frames), "mean", "std", "model" (arguments of `create_slowfast`).
        device: where it runs.
    """

    reads = READS

    def __init__(self, network: nn.Module, config: dict[str, Any], device: str | torch.device = "cpu"):
        self.network, self.config, self.device = network.to(device).eval(), config, torch.device(device)
        self.dim = _width(config["model"])
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
        return _wants(_config(TINY if options["pretrained"] is None else KINETICS))

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """As `pretrained`, or the small model, trained by classification of motion."""
        if options["pretrained"] is None:
            rest = {"steps": options["steps"], "seed": options["seed"], "device": material.device}
            return material.small.train_slowfast(material.footage(SIZES[TINY]), material.clip_frames, **rest)
        checkpoint = KINETICS_URL if options["pretrained"] == "kinetics" else options["pretrained"]
        if checkpoint.startswith(("http://", "https://")):
            checkpoint = download(checkpoint, material.folder / Path(urlsplit(checkpoint).path).name)
        return cls.pretrained(checkpoint, material.device)

    @classmethod
    def public(cls, model: str, pretrained: str | None) -> str | None:
        """An address; a file of this machine is nowhere else."""
        address = KINETICS_URL if pretrained == "kinetics" else pretrained or ""
        return address if model == KINETICS and address.startswith("https://") else None

    @classmethod
    def fetch(cls, model: str, source: str, room: Path) -> Self:
        """As `pretrained`, from an address."""
        return cls.pretrained(download(source, room / "checkpoint"))

    @classmethod
    def pretrained(cls, checkpoint: str | Path, device: str | torch.device = "cpu") -> Self:
        """SLOWFAST_8x8_R50 with the weights in pytorchvideo's published file (see `KINETICS_URL`).

        Raises:
            InputError: the file is missing, damaged or of another model.
        """
        slowfast = cls.create(KINETICS)
        state, _ = read_checkpoint(checkpoint)
        _load({key: value for key, value in state.items() if not key.startswith(_HEAD)}, slowfast.network, checkpoint)
        return cls(slowfast.network, slowfast.config, device)

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
        # pytorchvideo writes into the list that it is given, so it gets a new one each time.
        return self.network(list(self.pathways(clips))).flatten(1)

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
    name = config["name"]
    return Wants(SIZES.get(name, SIZES[KINETICS]), frames=config["frames"] if name == KINETICS else 1)


def _build(config: dict[str, Any]) -> nn.Module:
    return create_slowfast(**config["model"], head=None, head_pool=nn.AdaptiveAvgPool3d)


def _load(state: dict[str, Tensor], network: nn.Module, source: str | Path) -> None:
    check_fit(state, network.state_dict(), source, "this SlowFast")
    network.load_state_dict(state)


def _width(model: dict[str, Any]) -> int:
    slow = model.get("stem_dim_outs", (64, 8))[0] * 32
    return slow + slow // model.get("slowfast_channel_reduction_ratio", 8)


ENCODER = SlowFast
