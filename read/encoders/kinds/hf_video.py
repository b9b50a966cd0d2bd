"""Video models of transformers: VideoMAE, V-JEPA 2, TimeSformer and ViViT; one feature per clip.

A model with a classifier gives what the classifier reads: VideoMAE's normed mean over tokens, V-JEPA 2's attentive
pooling, the first token of TimeSformer and ViViT. One without gives the mean over tokens, or that first token. X-CLIP,
which reads sentences too, is the encoder `xclip`.

Symbols: n clips, T frames in a clip, S their side in pixels, F frames that the model takes, d width.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from read.encoders.base import Material, Wants
from read.encoders.hub import from_hub, hub_source, kept_config, model_from_hub, name_of, weightless
from read.encoders.of_hub import OfHub
from read.encoders.weights import CONFIG, WEIGHTS, read_config, save_folder
from read.errors import InputError, optional_imports
from read.weights import check_fit, first_line, load_tensors, state_digest

with optional_imports():
    import transformers

READS = ("frames",)
OPTIONS = {"model": "MCG-NJU/videomae-base-finetuned-kinetics"}  # a hub's name, with its revision after an @; a folder


class VideoFamily(NamedTuple):
    """Names of transformers' classes, and how a model without classifier is pooled."""

    plain: str
    classifier: str
    processor: str
    first: bool  # the first token, not the mean over all


FAMILIES = {
    "videomae": VideoFamily("VideoMAEModel", "VideoMAEForVideoClassification", "VideoMAEVideoProcessor", False),
    "vjepa2": VideoFamily("VJEPA2Model", "VJEPA2ForVideoClassification", "VJEPA2VideoProcessor", False),
    "timesformer": VideoFamily(
        "TimesformerModel", "TimesformerForVideoClassification", "TimesformerVideoProcessor", True
    ),
    "vivit": VideoFamily("VivitModel", "VivitForVideoClassification", "VivitVideoProcessor", True),
}


class HFVideo(OfHub):
    """A model and how clips are made into its input.

    Args:
        model: as `build` makes it.
        config: "name", "family" (a key of `FAMILIES`), "classifier" (whether the model is one, without its last layer),
            "model" (transformers' configuration), and what `sight` gives.
        device: where it runs.
    """

    reads = READS

    def __init__(self, model: nn.Module, config: dict[str, Any], device: str | torch.device = "cpu") -> None:
        self.model, self.config, self.device = model.to(device).eval(), config, torch.device(device)
        self.dim, self.wants = model.config.hidden_size, wants_of(config)
        self._scale = scale_of(config, device)
        told = {key: value for key, value in config.items() if key != "commit"}
        self.identity = {**told, "weights": state_digest(model.state_dict()), "dim": self.dim}

    @classmethod
    def wanted(cls, options: Mapping[str, Any]) -> Wants:
        """Clips as the model takes them; its settings are read, not its weights. Raises InputError as `make`."""
        found = from_hub(transformers.AutoConfig, options["model"])
        return wants_of(sight(_family(found, options["model"]).processor, found, options["model"]))

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """The model of a folder or of the hub; nothing is trained here.

        Raises:
            InputError: it cannot be had, or is of no such family.
        """
        source = options["model"]
        found = from_hub(transformers.AutoConfig, source)
        family = _family(found, source)
        classifier = family.classifier in (found.architectures or [])
        model = without_ends(model_from_hub(getattr(transformers, family[classifier]), source))
        config = {
            "name": name_of(source), "family": found.model_type, "classifier": classifier,
            "model": kept_config(model.config), **sight(family.processor, found, source), **hub_source(found),
        }  # fmt: skip
        return cls(model, config, material.device)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """What `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        config, state = read_config(folder), load_tensors(Path(folder) / WEIGHTS)
        try:
            model = build(config)
        except Exception as error:  # each model checks its configuration in its own way
            told = f"{type(error).__name__}: {first_line(error)}"
            raise InputError(f"{Path(folder) / CONFIG}: describes no video model ({told})") from None
        check_fit(state, model.state_dict(), folder, f"this {type(model).__name__}")
        model.load_state_dict(state)
        return cls(model, config, device)

    def save(self, folder: str | Path) -> None:
        """Write weights and config into `folder`."""
        save_folder(folder, self.model.state_dict(), self.config)

    @torch.inference_mode()
    def video(self, clips: np.ndarray) -> np.ndarray:
        """Features of clips, uint8 (n, T, S, S, 3) -> float32 (n, d)."""
        frames = pixels(clips, self.config["frames"], self._scale)
        asked = {"skip_predictor": True} if self.config["family"] == "vjepa2" and not self.config["classifier"] else {}
        found = self.model(frames, **asked)
        if self.config["classifier"]:
            return found.logits.float().cpu().numpy()  # no longer of classes, but what their layer would read
        states = found.last_hidden_state
        pooled = states[:, 0] if FAMILIES[self.config["family"]].first else states.mean(1)
        return pooled.float().cpu().numpy()


def build(config: Mapping[str, Any]) -> nn.Module:
    """The model of an `HFVideo`'s config, with weights by chance."""
    kind = FAMILIES[config["family"]][config["classifier"]]
    return without_ends(weightless(getattr(transformers, kind), config["model"]))


def without_ends(model: nn.Module) -> nn.Module:
    """A model without its last layer, that of classes, and without V-JEPA 2's predictor of what is masked."""
    for name in ("classifier", "predictor", "vjepa2.predictor"):
        owner, _, part = name.rpartition(".")
        if hasattr(owner := getattr(model, owner, None) if owner else model, part):
            setattr(owner, part, nn.Identity())
    return model


def sight(processor: str, model: Any, source: str | Path) -> dict[str, Any]:
    """How a model sees clips, of its processor's settings.

    Returns:
        "frames" (F, spread evenly over a clip), "size" (S), "short" (pixels of the shorter side before the middle is
        cut out), "squash" (in place of cutting), "mean" and "std" of colours as levels from 0 to 255.

    Raises:
        InputError: there are no such settings, or they are not of the model.
    """
    found = from_hub(getattr(transformers, processor), source)
    vision = getattr(model, "vision_config", model)
    size, crop = _sides(found.size), _sides(found.crop_size) if found.do_center_crop else {}
    height, width = (crop.get(key, size.get(key, size.get("shortest_edge"))) for key in ("height", "width"))
    own = getattr(vision, "crop_size", None) or vision.image_size
    if [height, width] != (own if isinstance(own, list) else [own, own]) or height != width:
        raise InputError(f"{source}: its processor makes pictures of {width} x {height} pixels, its model takes {own}")
    squash = "height" in size
    if squash and crop and crop != {"height": size["height"], "width": size["width"]}:
        raise InputError(
            f"{source}: its processor presses pictures into {size} and then cuts {crop} out; not supported"
        )
    factor = found.rescale_factor if found.do_rescale else 1.0
    offset = 1.0 if processor == "VivitVideoProcessor" else 0.0
    mean, std = (found.image_mean, found.image_std) if found.do_normalize else ([0.0] * 3, [1.0] * 3)
    return {
        "frames": getattr(vision, "frames_per_clip", None) or vision.num_frames,
        "size": width, "short": size.get("shortest_edge", 0), "squash": squash,
        "mean": [(offset + each) / factor for each in mean], "std": [each / factor for each in std],
    }  # fmt: skip


def wants_of(config: Mapping[str, Any]) -> Wants:
    """Which clips a model takes that sees as its config says."""
    return Wants(config["size"], config["frames"], config["squash"], config["short"])


def scale_of(config: Mapping[str, Any], device: str | torch.device) -> tuple[Tensor, Tensor]:
    """The mean and the deviation of levels, for `pixels`."""
    mean, std = (torch.tensor(config[key], device=device).view(3, 1, 1) for key in ("mean", "std"))
    return mean, std


def pixels(clips: np.ndarray, count: int, scale: tuple[Tensor, Tensor]) -> Tensor:
    """Clips as the models take them, uint8 (n, T, S, S, 3) -> float32 (n, F, 3, S, S): F frames, evenly spread."""
    mean, std = scale
    chosen = np.arange(count) * clips.shape[1] // count
    return (torch.from_numpy(clips[:, chosen]).to(mean.device).movedim(-1, 2).float() - mean) / std


def _family(found: Any, source: str) -> VideoFamily:
    if found.model_type == "xclip":
        raise InputError(f"{source}: is an X-CLIP, which reads sentences too; name it under an encoder of kind xclip")
    if found.model_type not in FAMILIES:
        raise InputError(f"{source}: is a {found.model_type}; video models are {', '.join(FAMILIES)}")
    return FAMILIES[found.model_type]


def _sides(size: Any) -> dict[str, int]:
    """A size as old and new processors tell it."""
    return {"shortest_edge": size} if isinstance(size, int) else {key: side for key, side in dict(size).items() if side}


ENCODER = HFVideo
