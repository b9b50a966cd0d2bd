"""UMT, narrow, in the variants of its paper, and the reference batch with windows and sound."""

import torch

from read.backbones import build_backbone
from read.backbones.grounding.umt import UMT
from tests.backbones.reference import INPUTS, LENGTHS, reference_batch, wave

SIZES = {"video_dim": 6, "text_dim": 5, "audio_dim": 4, "hidden": 16, "heads": 2, "feed_forward": 24, "positions": 9}
QUIET = {"dropout": 0.0, "input_dropout": 0.0, "text_dropout": 0.0}
VARIANTS = {
    "qvhighlights": {},
    "youtube": {"text_dim": 0, "layers": 1, "boundary": False, "saliency_weight": 1.0},
    "video_only": {"audio_dim": 0},
    "charades": {"saliency": False, "regression_weight": 0.5},
}
WINDOWS = (((0, 7), (1, 4), (1.5, 4.25)), ((0.5, 3.5),), ())  # in clips; the second and third share a centre's clip


def build(**settings) -> UMT:
    torch.manual_seed(0)
    return build_backbone("umt", **(SIZES | QUIET | settings))


def run(model: UMT, batch: dict[str, torch.Tensor]) -> dict:
    with torch.no_grad():
        return model(*(batch[name] for name in INPUTS), audio=batch.get("audio"))


def make_batch() -> dict[str, torch.Tensor]:
    batch = reference_batch()
    windows, mask = torch.zeros(3, 3, 2), torch.zeros(3, 3, dtype=torch.bool)
    for sample, (of_sample, clips) in enumerate(zip(WINDOWS, LENGTHS, strict=True)):
        for index, window in enumerate(of_sample):
            windows[sample, index], mask[sample, index] = torch.tensor(window) / clips, True
    audio = wave((3, max(LENGTHS), 4), 1.3) * batch["video_mask"][..., None]
    return batch | {"windows": windows, "windows_mask": mask, "audio": audio}
