"""A small BART that sees a video: for domains whose language is small enough to learn from nothing."""

from typing import Any

from read.backbones.tokenizer import BOS, EOS, PAD, SPECIAL
from read.backbones.vg_fusion import VisualGuidanceConfig
from read.backbones.visual_guidance import VisualGuidance
from read.errors import InputError, optional_imports


def small_bart(
    vocabulary: int,
    video_dim: int,
    *,
    hidden: int = 96,
    layers: int = 2,
    heads: int = 4,
    feed_forward: int = 192,
    dropout: float = 0.1,
    positions: int = 512,
    **guide: Any,
) -> VisualGuidance:
    """An untrained BART with an untrained guide, in evaluation mode.

    Args:
        vocabulary: tokens, `len(tokenizer)` of `train_tokenizer`.
        video_dim: width of the video features.
        hidden: width, a multiple of `heads`.
        layers: of the encoder, and as many of the decoder.
        heads: of attention, in the text model and in the guide.
        feed_forward: width of the feed-forward blocks.
        dropout: rate, in the text model and in the guide.
        positions: the longest transcript, in tokens.
        guide: further fields of `VisualGuidanceConfig`.

    Raises:
        InputError: a size does not fit.
    """
    with optional_imports():
        from transformers import BartConfig, BartForConditionalGeneration

    if hidden % heads:
        raise InputError(f"small_bart: hidden {hidden} is no multiple of heads {heads}")
    if vocabulary < len(SPECIAL):
        raise InputError(f"small_bart: a vocabulary of {vocabulary} has no room for the special tokens")
    sizes = {"layers": layers, "attention_heads": heads, "ffn_dim": feed_forward}
    config = BartConfig(
        vocab_size=vocabulary, d_model=hidden, dropout=dropout, max_position_embeddings=positions,
        init_std=0.5 * hidden**-0.5,  # .02, as of BART, is for widths from 768; narrow attention would wake slowly
        bos_token_id=BOS, pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=EOS, forced_eos_token_id=EOS,
        **{f"{side}_{key}": size for side in ("encoder", "decoder") for key, size in sizes.items()},
    )  # fmt: skip
    settings = VisualGuidanceConfig(**{"video_dim": video_dim, "heads": heads, "dropout": dropout} | guide)
    return VisualGuidance(BartForConditionalGeneration(config), settings).eval()


TEXT_MODEL = small_bart
