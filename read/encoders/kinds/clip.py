"""CLIP and its kin through open_clip: a feature per clip of video, a feature per token of a sentence.

SigLIP, SigLIP 2, EVA, MobileCLIP, CoCa and all else that open_clip names, with their own tokenizers and text towers.

Symbols: n clips, T frames in a clip, S their side in pixels, L tokens of a sentence with padding, M of them real,
d width.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from read.encoders import towers
from read.encoders.base import Material, Wants
from read.encoders.reader import SentenceReader
from read.encoders.tokens import TENSOR, Tokenizer, Tokens
from read.encoders.towers import TINY, build, known, preprocessing
from read.encoders.weights import WEIGHTS, read_config, save_folder
from read.errors import InputError, optional_imports
from read.weights import check_fit, first_line, load_tensors, state_digest

with optional_imports():
    import open_clip
    from open_clip.hf_model import HFTextEncoder
    from open_clip.pretrained import get_pretrained_cfg

READS = ("frames", "text")
JOINT = True
OPTIONS = {
    "model": "clip_tiny",  # open_clip's name
    "pretrained": None,  # one of open_clip's tags, or a checkpoint file; null trains the small model
    "steps": 250,
    "seed": 0,
}
FRAMES_PER_CLIP = 2  # a still picture changes little in two seconds


class Clip(SentenceReader):
    """A model of pictures and sentences (CLIP: Radford et al. 2021), its tokenizer and how it sees pictures.

    Args:
        model: an `open_clip.CLIP`, `CustomTextCLIP` or `CoCa`.
        config: "name" (open_clip's), "quick_gelu", "mean", "std", "squash" (pictures to be square, not cut),
            "frames_per_clip", and of a text tower of transformers its "text" configuration.
        device: where it runs.
        tokenizer: the model's; None: CLIP's own.
    """

    reads, joint = READS, JOINT

    def __init__(
        self,
        model: nn.Module,
        config: dict[str, Any],
        device: str | torch.device = "cpu",
        tokenizer: Tokenizer | None = None,
    ):
        self.model, self.config, self.device = model.to(device).eval(), config, torch.device(device)
        architecture = open_clip.get_model_config(config["name"])
        self.dim, self.text_dim = architecture["embed_dim"], towers.text_width(model)
        self.wants = Wants(towers.frame_size(config["name"]), squash=config["squash"])
        self._tokenizer = tokenizer or open_clip.get_tokenizer(config["name"])
        self._mean, self._std = (torch.tensor(config[key], device=device).view(3, 1, 1) for key in ("mean", "std"))
        self.identity = {
            **config,
            "weights": state_digest(self._state()),
            "size": self.wants.size,
            "dim": self.dim,
            "text_dim": self.text_dim,
        }

    @classmethod
    def wanted(cls, options: Mapping[str, Any]) -> Wants:
        """Pictures as the model was made for them. Raises InputError where open_clip has no such model."""
        name = options["model"]
        return Wants(towers.frame_size(name), squash=preprocessing(name, options["pretrained"])["squash"])

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """As `pretrained`, or the small model, trained by contrast of frames with the sentences about them."""
        if options["pretrained"] is not None:
            return cls.pretrained(options["model"], options["pretrained"], material.device)
        if options["model"] != TINY:
            raise InputError(f"encoder clip: pretrained is null, but of CLIP's models only {TINY} is trained here")
        rest = {"steps": options["steps"], "seed": options["seed"], "device": material.device}
        return material.small.train_clip(material.footage(towers.frame_size(TINY)), **rest)

    @classmethod
    def public(cls, model: str, pretrained: str | None) -> str | None:
        """A tag of open_clip's; a file of this machine is nowhere else."""
        return pretrained if pretrained is not None and get_pretrained_cfg(model, pretrained) else None

    @classmethod
    def fetch(cls, identity: Mapping[str, Any], source: str, room: Path) -> Self:
        """As `pretrained`."""
        return cls.pretrained(identity["name"], source)

    @classmethod
    def pretrained(cls, name: str, weights: str | Path, device: str | torch.device = "cpu") -> Self:
        """open_clip's model `name`, with the weights of one of its tags (downloaded) or of a checkpoint file.

        Raises:
            InputError: the name, the tag or the file is unknown, cannot be had or does not fit.
        """
        tag = get_pretrained_cfg(name, str(weights))
        # Openai's weights need the activation that they were trained with, whatever the model's own default is.
        quick_gelu = bool(open_clip.get_model_config(known(name)).get("quick_gelu") or tag.get("quick_gelu"))
        model = _had(name, str(weights), open_clip.create_model, str(weights), force_quick_gelu=quick_gelu)
        tokenizer = _had(name, "its tokenizer", open_clip.get_tokenizer)
        config = clip_config(name, quick_gelu, **preprocessing(name, weights))
        if isinstance(text := getattr(model, "text", None), HFTextEncoder):
            from read.encoders.hub import kept_config  # here, as other towers do without transformers

            config["text"] = kept_config(text.config)
        return cls(model, config, device, towers.own_tokenizer(name, tokenizer, model))

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self:
        """What `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        config, state = read_config(folder), load_tensors(Path(folder) / WEIGHTS)
        model, content = build(config), state.pop(TENSOR, None)
        check_fit(state, model.state_dict(), Path(folder) / WEIGHTS, f"open_clip's {config['name']}")
        model.load_state_dict(state)
        return cls(model, config, device, towers.kept_tokenizer(config["name"], content, model, folder))

    def save(self, folder: str | Path) -> None:
        """Write weights, the tokenizer among them, and config into `folder`."""
        save_folder(folder, self._state(), self.config)

    def _state(self) -> dict[str, Tensor]:
        kept = {TENSOR: self._tokenizer.content} if isinstance(self._tokenizer, Tokenizer) else {}
        return {**self.model.state_dict(), **kept}

    @torch.inference_mode()
    def video(self, clips: np.ndarray) -> np.ndarray:
        """Features of clips, uint8 (n, T, S, S, 3) -> float32 (n, d): the mean over a few frames' embeddings."""
        count = self.config["frames_per_clip"]
        middle = ((np.arange(count) + 0.5) * clips.shape[1] / count).astype(int)
        images = torch.from_numpy(clips[:, middle]).to(self.device).flatten(0, 1)
        features = self.model.encode_image(self.normalise(images), normalize=False)
        return features.unflatten(0, (-1, count)).mean(1).float().cpu().numpy()

    def words(self, sentence: str) -> list[str]:
        """What each of the M tokens of `text` stands for."""
        if isinstance(self._tokenizer, Tokenizer):
            return super().words(sentence)
        pieces = self._tokenizer.encode(sentence)[: self._tokenizer.context_length - 2]
        return ["[start]", *(self._tokenizer.decoder[piece].removesuffix("</w>") for piece in pieces), "[end]"]

    def tokens(self, sentences: list[str]) -> Tensor:
        """Token numbers (n, L), as the model takes them."""
        return self._tokens(sentences).ids.to(self.device)

    def _tokens(self, sentences: list[str]) -> Tokens:
        if isinstance(self._tokenizer, Tokenizer):
            return super()._tokens(sentences)
        ids = self._tokenizer(sentences)
        ended = (ids == self._tokenizer.eot_token_id).cumsum(1)
        return Tokens(ids, ended.cumsum(1) <= 1)

    def _encoded(self, ids: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """States (n, L, d) and what open_clip pools of them, as `encode_text` (n, d)."""
        if isinstance(text := getattr(self.model, "text", None), HFTextEncoder):
            mask = (ids != text.config.pad_token_id).long()
            found = text.transformer(input_ids=ids, attention_mask=mask)
            return found.last_hidden_state, text.proj(text.pooler(found, mask))
        asked = {"text_indices": 1, "normalize": False, "normalize_intermediates": True}
        found = self.model.forward_intermediates(text=ids, **asked)
        return found["text_intermediates"][-1], found["text_features"]

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels, uint8 (n, S, S, 3), as the model takes them: float32 (n, 3, S, S)."""
        return (images.movedim(-1, -3).float() / 255 - self._mean) / self._std


def clip_config(
    name: str, quick_gelu: bool, mean: tuple[float, ...], std: tuple[float, ...], squash: bool = False
) -> dict[str, Any]:
    """The config of a `Clip`."""
    seen = {"mean": list(mean), "std": list(std), "squash": squash}
    return {"name": name, "quick_gelu": quick_gelu, "frames_per_clip": FRAMES_PER_CLIP, **seen}


def new_tiny_clip(device: str | torch.device = "cpu") -> Clip:
    """The small model with random weights, to be trained."""
    half = (0.5, 0.5, 0.5)
    config = clip_config(TINY, False, half, half)
    return Clip(build(config), config, device)


def _had(name: str, what: str, make: Callable[..., Any], *arguments: Any, **rest: Any) -> Any:
    """What open_clip makes of a name; downloads, files, pickles and keys fail each in their own way."""
    try:
        return make(name, *arguments, **rest)
    except Exception as error:
        raise InputError(f"open_clip's {name!r}: {what} cannot be had: {first_line(error)}") from None


ENCODER = Clip
