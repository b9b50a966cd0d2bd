"""CLIP through open_clip: a feature per clip of video, a feature per token of a sentence.

Symbols: n clips, T frames in a clip, S their side in pixels, M tokens of a sentence with its start and end, d width.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from read.encoders.base import Encoder, Material, Wants
from read.encoders.weights import WEIGHTS, read_config, save_folder
from read.errors import InputError, optional_imports
from read.weights import state_digest

with optional_imports():
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg
    from open_clip.tokenizer import SimpleTokenizer

READS = ("frames", "text")
JOINT = True
OPTIONS = {
    "model": "clip_tiny",  # open_clip's name
    "pretrained": None,  # one of open_clip's tags, or a checkpoint file; null trains the small model
    "steps": 250,
    "seed": 0,
}
TINY = "clip_tiny"
FRAMES_PER_CLIP = 2  # a still picture changes little in two seconds
TEXT_BATCH = 256

open_clip.add_model_config(Path(__file__).parents[1] / "configs" / f"{TINY}.json")


class Clip(Encoder):
    """A CLIP model (Radford et al. 2021), its tokenizer and its normalisation of pixels.

    Args:
        model: an `open_clip.CLIP`.
        config: "name" (open_clip's), "quick_gelu", "mean", "std", "frames_per_clip".
        device: where it runs.
    """

    reads, joint = READS, JOINT

    def __init__(self, model: open_clip.CLIP, config: dict[str, Any], device: str | torch.device = "cpu"):
        self.model, self.config, self.device = model.to(device).eval(), config, torch.device(device)
        self.size = open_clip.get_model_preprocess_cfg(model)["size"][0]
        self.dim, self.text_dim = model.visual.output_dim, model.ln_final.normalized_shape[0]
        self.wants = Wants(self.size)
        self._tokenizer = open_clip.get_tokenizer(config["name"])
        self._mean, self._std = (torch.tensor(config[key], device=device).view(3, 1, 1) for key in ("mean", "std"))
        self.identity = {
            **config,
            "weights": state_digest(model.state_dict()),
            "size": self.size,
            "dim": self.dim,
            "text_dim": self.text_dim,
        }

    @classmethod
    def wanted(cls, options: Mapping[str, Any]) -> Wants:
        """Frames of the size that the model was made for. Raises InputError where open_clip has no such model."""
        return Wants(frame_size(options["model"]))

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """As `pretrained`, or the small model, trained by contrast of frames with the sentences about them."""
        if options["pretrained"] is not None:
            return cls.pretrained(options["model"], options["pretrained"], material.device)
        if options["model"] != TINY:
            raise InputError(f"encoder clip: pretrained is null, but of CLIP's models only {TINY} is trained here")
        rest = {"steps": options["steps"], "seed": options["seed"], "device": material.device}
        return material.small.train_clip(material.footage(frame_size(TINY)), **rest)

    @classmethod
    def public(cls, model: str, pretrained: str | None) -> str | None:
        """A tag of open_clip's; a file of this machine is nowhere else."""
        return pretrained if pretrained is not None and get_pretrained_cfg(model, pretrained) else None

    @classmethod
    def fetch(cls, model: str, source: str, room: Path) -> Self:
        """As `pretrained`."""
        return cls.pretrained(model, source)

    @classmethod
    def pretrained(cls, name: str, weights: str | Path, device: str | torch.device = "cpu") -> Self:
        """open_clip's model `name`, with the weights of one of its tags (downloaded) or of a checkpoint file.

        Raises:
            InputError: the name, the tag or the file is unknown, cannot be had or does not fit.
        """
        tag = get_pretrained_cfg(name, str(weights))
        # Openai's weights need the activation that they were trained with, whatever the model's own default is.
        quick_gelu = bool(open_clip.get_model_config(_known(name)).get("quick_gelu") or tag.get("quick_gelu"))
        model = _build(name, weights, quick_gelu)
        normalisation = open_clip.get_model_preprocess_cfg(model)
        return cls(model, clip_config(name, quick_gelu, normalisation["mean"], normalisation["std"]), device)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """What `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        config = read_config(folder)
        return cls(_build(config["name"], Path(folder) / WEIGHTS, config["quick_gelu"]), config, device)

    def save(self, folder: str | Path) -> None:
        """Write weights and config into `folder`."""
        save_folder(folder, self.model.state_dict(), self.config)

    @torch.inference_mode()
    def video(self, clips: np.ndarray) -> np.ndarray:
        """Features of clips, uint8 (n, T, S, S, 3) -> float32 (n, d): the mean over a few frames' embeddings."""
        count = self.config["frames_per_clip"]
        middle = ((np.arange(count) + 0.5) * clips.shape[1] / count).astype(int)
        images = torch.from_numpy(clips[:, middle]).to(self.device).flatten(0, 1)
        features = self.model.encode_image(self.normalise(images))
        return features.unflatten(0, (-1, count)).mean(1).float().cpu().numpy()

    def text(self, sentences: list[str]) -> list[np.ndarray]:
        """Features of tokens, float32 (M, d) for each sentence: start, words, end, after the last layer norm.

        Sentences longer than the model's context are cut to it.

        Raises:
            InputError: a sentence is empty.
        """
        return self.read(sentences)[0]

    def sentences(self, sentences: list[str]) -> np.ndarray:
        """The sentences among the pictures, float32 (n, d): open_clip's `encode_text`. Raises InputError as `text`."""
        return self.read(sentences)[1]

    @torch.inference_mode()
    def read(self, sentences: list[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """`text` and `sentences` in one pass."""
        if empty := [number for number, sentence in enumerate(sentences) if not sentence.strip()]:
            raise InputError(f"sentences {empty[:5]} of {len(sentences)} are empty")
        features, pooled = [], [torch.empty(0, self.dim)]
        for start in range(0, len(sentences), TEXT_BATCH):
            tokens = self.tokens(sentences[start : start + TEXT_BATCH])
            found = self.model.forward_intermediates(
                text=tokens, text_indices=1, normalize=False, normalize_intermediates=True
            )
            ends = tokens.argmax(-1) + 1  # the end token has the highest number
            states = found["text_intermediates"][-1]
            features += [row[:end].float().cpu().numpy() for row, end in zip(states, ends, strict=True)]
            pooled.append(found["text_features"].float().cpu())
        return features, torch.cat(pooled).numpy()

    def words(self, sentence: str) -> list[str]:
        """What each of the M tokens of `text` stands for."""
        pieces = self._tokenizer.encode(sentence)[: self._tokenizer.context_length - 2]
        return ["[start]", *(self._tokenizer.decoder[piece].removesuffix("</w>") for piece in pieces), "[end]"]

    def tokens(self, sentences: list[str]) -> torch.Tensor:
        """Token numbers (n, context length), zeros after the end."""
        return self._tokenizer(sentences).to(self.device)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels, uint8 (n, S, S, 3), as the model takes them: float32 (n, 3, S, S)."""
        return (images.movedim(-1, -3).float() / 255 - self._mean) / self._std


def clip_config(name: str, quick_gelu: bool, mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    """The config of a `Clip`."""
    normalisation = {"mean": list(mean), "std": list(std)}
    return {"name": name, "quick_gelu": quick_gelu, "frames_per_clip": FRAMES_PER_CLIP, **normalisation}


def frame_size(name: str) -> int:
    """The side in pixels of the square images that open_clip's model `name` takes.

    Raises:
        InputError: open_clip has no such model.
    """
    return open_clip.get_model_config(_known(name))["vision_cfg"].get("image_size", 224)


def new_tiny_clip(device: str | torch.device = "cpu") -> Clip:
    """The small model with random weights, to be trained."""
    model = open_clip.CLIP(**open_clip.get_model_config(TINY))
    half = (0.5, 0.5, 0.5)
    size = model.visual.image_size
    open_clip.set_model_preprocess_cfg(model, {"size": size, "mean": half, "std": half})
    return Clip(model, clip_config(TINY, False, half, half), device)


def _known(name: str) -> str:
    if name not in open_clip.list_models():
        raise InputError(f"open_clip has no model {name!r}; open_clip.list_models() names them")
    return name


def _build(name: str, weights: str | Path, quick_gelu: bool) -> open_clip.CLIP:
    _known(name)
    try:
        model = open_clip.create_model(name, str(weights), force_quick_gelu=quick_gelu)
    except Exception as error:  # files, downloads, pickles and keys fail each in their own way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"CLIP {name!r} with weights {str(weights)!r}: {reason}") from None
    if not isinstance(model, open_clip.CLIP) or not isinstance(open_clip.get_tokenizer(name), SimpleTokenizer):
        raise InputError(f"CLIP {name!r}: only models with CLIP's own text tower and tokenizer are supported")
    return model


ENCODER = Clip
