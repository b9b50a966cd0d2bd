"""What open_clip has under a name: the model, how it sees pictures, its tokenizer; made without a hub.

open_clip itself asks the hub for the configuration of a text tower of transformers and for most tokenizers, whenever a
model is made; here they are given, as an encoder keeps them.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from read.encoders.tokens import TENSOR, Tokenizer
from read.encoders.weights import WEIGHTS
from read.errors import InputError, optional_imports
from read.weights import first_line

with optional_imports():
    import open_clip
    from open_clip.coca_model import CoCa
    from open_clip.hf_configs import arch_dict
    from open_clip.hf_model import HFTextEncoder
    from open_clip.model import CustomTextCLIP
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer, get_clean_fn

TINY = "clip_tiny"  # the model that is trained here
_SEPARATOR = "[SEP]"  # of BERT's tokenizer, which some models read without

open_clip.add_model_config(Path(__file__).parent / "configs" / f"{TINY}.json")


def frame_size(name: str) -> int:
    """The side in pixels of the square images that open_clip's model `name` takes.

    Raises:
        InputError: open_clip has no such model, or its images are not square.
    """
    size = open_clip.get_model_config(known(name))["vision_cfg"].get("image_size", 224)
    height, width = size if isinstance(size, list) else (size, size)
    if height != width:
        raise InputError(
            f"open_clip's {name!r}: takes pictures of {width} x {height} pixels; only square ones are made"
        )
    return height


def preprocessing(name: str, weights: str | Path | None) -> dict[str, Any]:
    """How weights of open_clip's model `name` see pictures: "mean", "std", and whether they "squash" them.

    Of a checkpoint file it is what the published weights of the model agree on, else what open_clip takes by default.
    """
    tags = [str(weights)] if get_pretrained_cfg(name, str(weights)) else list_pretrained_tags_by_model(name)
    found = []
    for tag in tags:
        told = get_pretrained_cfg(name, tag)
        found.append({"mean": told["mean"], "std": told["std"], "squash": told["resize_mode"] == "squash"})
    default = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD, "squash": False}
    return found[0] if found and all(each == found[0] for each in found) else default


def build(config: Mapping[str, Any]) -> nn.Module:
    """The model of a `Clip`'s config, with random weights; nothing is downloaded.

    Raises:
        InputError: there is none, or timm or transformers, of which its towers are, is missing.
    """
    name, text = config["name"], config.get("text")
    settings = open_clip.get_model_config(known(name)) | {"quick_gelu": config["quick_gelu"]}
    custom = settings.pop("custom_text", False) or text is not None
    kind = open_clip.CLIP if not custom else CoCa if "multimodal_cfg" in settings else CustomTextCLIP
    if ("hf_model_name" in settings["text_cfg"]) != (text is not None):
        raise InputError(f"open_clip's {name!r}: its config needs the text tower's, if that is of transformers")
    with tempfile.TemporaryDirectory() as folder:
        if text is not None:
            if text.get("model_type") not in arch_dict:
                raise InputError(f"text.model_type is {text.get('model_type')!r}; open_clip has {', '.join(arch_dict)}")
            (Path(folder) / "config.json").write_text(json.dumps(text), encoding="utf-8")
            settings["text_cfg"] |= {"hf_model_name": folder, "hf_model_pretrained": False}
        try:
            return kind(**settings)
        except Exception as error:  # timm and transformers may be missing, or of other versions
            raise InputError(f"open_clip's {name!r} cannot be made: {first_line(error)}") from None


def known(name: str) -> str:
    """A name that open_clip has. Raises InputError for any other."""
    if name not in open_clip.list_models():
        raise InputError(f"open_clip has no model {name!r}; open_clip.list_models() names them")
    return name


def text_width(model: nn.Module) -> int:
    """How wide the states of a model's text tower are."""
    text = getattr(model, "text", None)
    if isinstance(text, HFTextEncoder):
        return text.config.hidden_size
    return (model if text is None else text).ln_final.normalized_shape[0]


def own_tokenizer(name: str, tokenizer: Any, model: nn.Module) -> Tokenizer | None:
    """open_clip's tokenizer as one that can be kept; None: CLIP's own, which open_clip brings along."""
    if type(tokenizer) is SimpleTokenizer:
        return None
    reading = _reading(name, model)
    strange = type(tokenizer) is not HFTokenizer or tokenizer.tokenizer_mode
    if strange or (reading["without"] and tokenizer.tokenizer.sep_token != reading["without"]):
        raise InputError(f"open_clip's {name!r}: its tokenizer, a {type(tokenizer).__name__}, is not supported")
    return Tokenizer.of(tokenizer.tokenizer, **reading)


def kept_tokenizer(name: str, content: Tensor | None, model: nn.Module, folder: str | Path) -> Tokenizer | None:
    """The tokenizer that was kept beside the weights in a folder; None: CLIP's own."""
    if "hf_tokenizer_name" not in open_clip.get_model_config(name)["text_cfg"]:
        return None
    if content is None:
        raise InputError(f"{Path(folder) / WEIGHTS}: lacks the tokenizer of {name}, {TENSOR}")
    return Tokenizer(content, **_reading(name, model))


def _reading(name: str, model: nn.Module) -> dict[str, Any]:
    """How a model takes sentences: arguments of `Tokenizer`."""
    text, own = open_clip.get_model_config(name)["text_cfg"], getattr(model, "text", model)
    asked = text.get("tokenizer_kwargs", {})
    return {
        "length": text.get("context_length", 77),
        "rows": own.config.vocab_size if isinstance(own, HFTextEncoder) else own.token_embedding.num_embeddings,
        "clean": get_clean_fn(asked.get("clean", "whitespace")),
        "without": _SEPARATOR if asked.get("strip_sep_token") else None,
    }
