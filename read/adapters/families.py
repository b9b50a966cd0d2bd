"""Where the sub-blocks of well-known transformers are, by the class of the module that calls the layers.

A class is known by the package and the name of its type, so that nothing has to be imported. Paths are globs below
that module. A feed-forward path names the module whose output joins the residual and, where this is not the whole
block, the one that the block starts with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Family:
    """The layers below one class of module.

    Attributes:
        modality: of the tokens.
        feed_forward: glob of the modules that end a feed-forward block.
        entry: name, relative to the layer's, of the module that starts it; empty where one module is the whole block.
        attention: globs of the modules that end an attention block.
        self_attention: glob of the modules that attend within the tokens: (B, T, d), mask -> (B, T, d); empty where
            they are called in another way, which takes no prompts.
        causal: whether a token must not see later ones, from the module and its name.
        writes: whether the tokens are what a decoder writes, which is no input to align, from the module and its name.
    """

    modality: str
    feed_forward: str
    entry: str
    attention: tuple[str, ...]
    self_attention: str
    causal: Callable[[nn.Module, str], bool] = lambda module, name: False
    writes: Callable[[nn.Module, str], bool] = lambda module, name: False


def _always(module: nn.Module, name: str) -> bool:
    return True


def _is_decoder(module: Any, name: str) -> bool:
    return bool(module.config.is_decoder)


def _is_set_causal(module: Any, name: str) -> bool:
    return bool(module.config.causal)


def _is_text_tower(module: nn.Module, name: str) -> bool:
    return "visual" not in name


_BART = ("text", "layers.*.fc2", "fc1")
_BART_ENCODER = Family(*_BART, ("layers.*.self_attn",), "layers.*.self_attn")
_BART_DECODER = Family(*_BART, ("layers.*.self_attn", "layers.*.encoder_attn"), "layers.*.self_attn", _always, _always)
_T5 = ("block.*.layer.*.SelfAttention", "block.*.layer.*.EncDecAttention")
_CLIP = ("encoder.layers.*.mlp", "", ("encoder.layers.*.self_attn",), "encoder.layers.*.self_attn")
_XLM = Family("text", "ffns.*", "", ("attentions.*",), "", _is_set_causal)  # whose layers are parts of several lists
_BERT = ("encoder.layer.*.output.dense", "intermediate", ("encoder.layer.*.attention.output.dense",))

FAMILIES = {
    "transformers.BartEncoder": _BART_ENCODER,
    "transformers.BartDecoder": _BART_DECODER,
    "transformers.PegasusEncoder": _BART_ENCODER,
    "transformers.PegasusDecoder": _BART_DECODER,
    "transformers.T5Stack": Family("text", "block.*.layer.*.DenseReluDense", "", _T5, _T5[0], _is_decoder, _is_decoder),
    "transformers.BertModel": Family("text", *_BERT, "encoder.layer.*.attention.self", _is_decoder, _is_decoder),
    "transformers.XLMModel": _XLM,
    "transformers.FlaubertModel": _XLM,
    "transformers.VideoMAEModel": Family("video", *_BERT, "encoder.layer.*.attention.attention"),
    "transformers.CLIPTextModel": Family("text", *_CLIP, _always),
    "transformers.CLIPVisionModel": Family("video", *_CLIP),
    "open_clip.Transformer": Family(
        "text", "resblocks.*.mlp", "", ("resblocks.*.attn",), "resblocks.*.attn", _is_text_tower
    ),
}

# What stands in a layer and joins no residual there, by the layer's class: X-CLIP's messages from frame to frame.
SIDE_WAYS = {"XCLIPVisionEncoderLayer": ("message_fc", "message_attn")}

# Encoders of words whose source says nowhere that they see all tokens.
SEE_ALL = ("DebertaModel", "DebertaV2Model", "LayoutLMModel", "LEDEncoder", "MarkupLMModel")

# Decoders whose source says so nowhere.
SEE_EARLIER = ("OpenAIGPTModel",)

# What has no blocks that can be read, with the reason.
UNREADABLE = {
    "XLNetModel": "its calls may say by perm_mask which tokens see which",
    "ReformerModel": "its layers are reversible",
}

# What sees tokens of another modality than the model around it reads, or one of several.
STRANGERS = {"XCLIPMultiframeIntegrationTransformer": "video", "Blip2QFormerModel": "video"}

# Encoders of words that fill up what they are given to whole windows.
WINDOWED = ("LEDEncoder", "LongformerModel")

HEADS = (
    "lm_head", "cls", "classifier", "classification_head", "qa_outputs", "score",
    "visual_projection", "text_projection",
)  # fmt: skip


def family_of(module: nn.Module) -> Family | None:
    """The family that `module` or one of its base classes belongs to."""
    for kind in type(module).__mro__:
        if family := FAMILIES.get(f"{kind.__module__.split('.')[0]}.{kind.__name__}"):
            return family
    return None


def is_one_of(module: nn.Module, names: tuple[str, ...]) -> bool:
    """Whether the class of `module`, or one of its base classes, has one of these names."""
    return any(kind.__name__ in names for kind in type(module).__mro__)
