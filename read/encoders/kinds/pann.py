"""CNN14 of PANNs, the "pretrained audio neural networks" of Kong et al. 2020: one feature of sound per clip.

It is what the public audio features of UMT and of Lighthouse were made with: clips of 2 s, each for itself, at 32 kHz;
the 2048 numbers before the classifier.

Symbols: n clips, L samples in a clip, F frames of the spectrum, B = 64 bands, d width.
"""

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from read.encoders.base import Encoder, Hears, Material
from read.encoders.weights import WEIGHTS, download, read_config, save_folder
from read.errors import InputError, optional_imports
from read.weights import check_fit, load_tensors, read_checkpoint, state_digest

with optional_imports():
    from transformers.audio_utils import mel_filter_bank

READS = ("sound",)
OPTIONS = {"pretrained": "audioset"}  # downloads the public weights; or an address or a file of Cnn14
ADDRESS = "https://zenodo.org/record/3987831/files/Cnn14_mAP%3D0.431.pth"
MD5 = "541141fa2ee191a88f24a3219fff024e"  # as Zenodo tells it; it publishes no other digest
RATE, WINDOW, HOP, BANDS = 32000, 1024, 320, 64
LOWEST, HIGHEST = 50.0, 14000.0  # Hz
SILENT = 1e-10  # power of a band, below which it is silent
BLOCKS, WIDTH = 6, 64  # channels of the first block; each has twice as many as the one before
_BANK = "logmel_extractor.melW"
_SPARE = (
    "spectrogram_extractor.",
    "logmel_extractor.",
    "fc_audioset.",
)  # in the file: computed here; classifier


class ConvBlock(nn.Module):
    """Two convolutions: (n, c, F, B) -> (n, c', F, B)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()


class Cnn14(nn.Module):
    """The network without its classifier, under the names of the published weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(BANDS)
        channels = [1, *(width * 2**block for block in range(BLOCKS))]
        for number, (before, after) in enumerate(pairwise(channels), 1):
            self.add_module(f"conv_block{number}", ConvBlock(before, after))
        self.fc1 = nn.Linear(channels[-1], channels[-1])

    def forward(self, levels: Tensor) -> Tensor:
        """Levels in dB, (n, F, B) -> features (n, d)."""
        x = self.bn0(levels[:, None].transpose(1, 3)).transpose(1, 3)
        for number in range(1, BLOCKS + 1):
            x = self.get_submodule(f"conv_block{number}")(x)
            x = avg_pool2d(x, 2) if number < BLOCKS else x
        x = x.mean(3)
        return self.fc1(x.amax(2) + x.mean(2)).relu()


class Pann(Encoder):
    """A CNN14, and how its input is made of sound.

    Args:
        network: levels (n, F, B) -> (n, d).
        config: "name" and "width".
        device: where it runs.
    """

    reads = READS
    hears = Hears(RATE, least=2 ** (BLOCKS - 1) * HOP / RATE)  # so many frames that one is left after all pools

    def __init__(self, network: Cnn14, config: dict[str, Any], device: str | torch.device = "cpu") -> None:
        self.network, self.config, self.device = network.to(device).eval(), config, torch.device(device)
        self.dim = network.fc1.out_features
        self._bank = mel_bank().to(device)
        self._window = torch.hann_window(WINDOW, device=device)
        self.identity = {**config, "weights": state_digest(network.state_dict()), "dim": self.dim}

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """As `pretrained`; nothing is trained here."""
        checkpoint = ADDRESS if options["pretrained"] == "audioset" else options["pretrained"]
        if checkpoint.startswith(("http://", "https://")):
            checkpoint = _downloaded(checkpoint, material.folder / Path(urlsplit(checkpoint).path).name)
        return cls.pretrained(checkpoint, material.device)

    @classmethod
    def public(cls, model: str, pretrained: str | None) -> str | None:
        """An address; a file of this machine is nowhere else."""
        address = ADDRESS if pretrained == "audioset" else pretrained or ""
        return address if address.startswith("https://") else None

    @classmethod
    def fetch(cls, identity: Mapping[str, Any], source: str, room: Path) -> Self:
        """As `pretrained`, from an address."""
        return cls.pretrained(_downloaded(source, room / "checkpoint"))

    @classmethod
    def pretrained(cls, checkpoint: str | Path, device: str | torch.device = "cpu") -> Self:
        """Cnn14 with the weights in its authors' file (see `ADDRESS`).

        Raises:
            InputError: the file is missing, damaged, of another network, or of one that listens in other bands.
        """
        state, _ = read_checkpoint(checkpoint)
        if _BANK in state and not (state[_BANK].shape == (bank := mel_bank()).shape and _same(state[_BANK], bank)):
            raise InputError(f"{checkpoint}: listens at another rate or in other bands than Cnn14 at {RATE} Hz")
        kept = {key: value for key, value in state.items() if not key.startswith(_SPARE)}
        return cls._of(kept, checkpoint, device, WIDTH)

    @classmethod
    def _of(cls, state: dict[str, Tensor], source: str | Path, device: str | torch.device, width: int) -> Self:
        network = Cnn14(width)
        check_fit(state, network.state_dict(), source, "this Cnn14")
        network.load_state_dict(state)
        return cls(network, {"name": "cnn14", "width": width}, device)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """What `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        state, config = load_tensors(Path(folder) / WEIGHTS), read_config(folder)
        return cls._of(state, folder, device, config["width"])

    def save(self, folder: str | Path) -> None:
        """Write weights and config into `folder`."""
        save_folder(folder, self.network.state_dict(), self.config)

    @torch.inference_mode()
    def sound(self, waves: np.ndarray) -> np.ndarray:
        """Features of clips' sound, float32 (n, L) -> float32 (n, d)."""
        return self.network(self.levels(torch.from_numpy(waves).to(self.device))).float().cpu().numpy()

    def levels(self, waves: Tensor) -> Tensor:
        """Levels in dB of the bands, (n, L) -> (n, F, B), as torchlibrosa computes them for the published weights."""
        with torch.autocast(waves.device.type, enabled=False):  # halves hold neither loud power nor faint
            spectrum = torch.stft(waves, WINDOW, HOP, window=self._window, pad_mode="reflect", return_complex=True)
            power = spectrum.real.square() + spectrum.imag.square()
            return 10 * (power.transpose(1, 2) @ self._bank).clamp(min=SILENT).log10()


def mel_bank() -> Tensor:
    """The weights of the spectrum's power in the bands, (513, B): Slaney's mel scale, each band of one area."""
    bank = mel_filter_bank(WINDOW // 2 + 1, BANDS, LOWEST, HIGHEST, RATE, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(bank).float()


def _same(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, rtol=1e-3, atol=1e-6)


def _downloaded(address: str, path: Path) -> Path:
    """The file at an address, checked where it is the public one."""
    download(address, path)
    if address == ADDRESS:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != MD5:
            path.unlink()
            raise InputError(f"{address}: what was downloaded is not the published file: its md5 is {found}, not {MD5}")
    return path


ENCODER = Pann
