"""Every backbone there is, narrow and without dropout, and the reference batch with all that its losses ask for."""

from dataclasses import fields
from types import SimpleNamespace

import torch
from torch import nn

from read.backbones import Backbone, build_backbone, get_backbone
from tests.backbones import narrow_umt
from tests.backbones.reference import INPUTS, LENGTHS, PAIRS, SIZES, WORDS, reference_batch

SETTINGS = {
    "moment_detr": {"queries": 4}, "qd_detr": {"queries": 4}, "umt": {"audio_dim": 4, "positions": 9},
    "joint": {"joint_start": 2, "joint_dim": 4},
}  # fmt: skip
SENTENCES = torch.tensor([[0.5, 0.5, -0.5, 0.5], [0.8, 0.0, 0.6, 0.0], [0.0, -0.6, 0.0, 0.8]])
STOPS = {"video": LENGTHS, "video_mask": LENGTHS, "audio": LENGTHS, "text": WORDS, "text_mask": WORDS}


def build(name: str, **settings) -> Backbone:
    rates = {field.name: 0.0 for field in fields(get_backbone(name).config_class) if "drop" in field.name}
    torch.manual_seed(0)
    known = {field.name for field in fields(get_backbone(name).config_class)}
    sizes = {key: value for key, value in SIZES.items() if key in known}
    return build_backbone(name, **sizes | rates | SETTINGS.get(name, {}) | settings)


def joint_batch() -> dict:
    """Sentences in the joint space, of three videos."""
    return reference_batch() | {"sentence": SENTENCES, "annotations": [SimpleNamespace(vid=vid) for vid in "abc"]}


BATCHES = {"umt": narrow_umt.make_batch, "joint": joint_batch}


def make_batch(name: str) -> dict[str, torch.Tensor]:
    if name in BATCHES:
        return BATCHES[name]()
    return reference_batch() | ({} if get_backbone(name).dense else PAIRS)


def forward(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict:
    more = {key: batch[key] for key in ("audio", "sentence") if key in batch}
    return model(*(batch[name] for name in INPUTS), **more)


@torch.no_grad()
def run(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict:
    return forward(model, batch)


def cut(batch: dict[str, torch.Tensor], sample: int) -> dict[str, torch.Tensor]:
    """One sample's inputs, without padding."""
    whole = {key: batch[key][sample : sample + 1] for key in ("sentence",) if key in batch}
    return whole | {key: batch[key][sample : sample + 1, : of[sample]] for key, of in STOPS.items() if key in batch}


def tensors(outputs: dict) -> dict[str, torch.Tensor]:
    """All outputs that are computed in float32, whatever the precision inside."""
    return {key: value for key, value in outputs.items() if isinstance(value, torch.Tensor)}


def wake(model: nn.Module) -> nn.Module:
    """Move what trains away from where it starts."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model
