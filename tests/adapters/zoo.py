"""Small random models of the families that transformers ships, and inputs for them."""

from dataclasses import dataclass, field
from typing import Any

import torch

LENGTHS = (7, 4, 2)  # words of three samples
WORDS = {"vocab_size": 60, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
LANGUAGE = WORDS | SIZES | {"max_position_embeddings": 64, "initializer_range": 0.4, "num_key_value_heads": 1,
                            "head_dim": 8}  # fmt: skip
VISION = SIZES | {"image_size": 16, "patch_size": 8, "num_channels": 3}
BOTH_SIDES = {f"{side}_{key}": value for side in ("encoder", "decoder")
              for key, value in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 24))}  # fmt: skip
SPEECH = SIZES | {"conv_dim": (8, 8), "conv_stride": (2, 2), "conv_kernel": (3, 3), "num_conv_pos_embeddings": 4,
                  "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 2,
                  "mask_time_prob": 0.0}  # fmt: skip


@dataclass(frozen=True)
class Stacked:
    """What a stack has to be found as."""

    layers: int
    attention: int = 1  # blocks a layer
    causal: bool = False
    modality: str = "text"
    feed_forward: int = 1


@dataclass(frozen=True)
class Species:
    """A family: its model type, the settings that differ, and its stacks by their names' beginnings."""

    kind: str
    settings: dict[str, Any]
    stacks: dict[str, Stacked]
    auto: str = "AutoModel"
    inputs: str = "words"
    traits: frozenset[str] = field(default_factory=frozenset)


def _decoder(kind: str, prefix: str = "model", **settings: Any) -> Species:
    stacks = {prefix: Stacked(2, causal=True)}
    settings = {key: value for key, value in (LANGUAGE | settings).items() if value is not None}
    return Species(kind, settings, stacks, "AutoModelForCausalLM", traits=frozenset({"writes"}))


def _encoder(kind: str, layers: int = 2, **settings: Any) -> Species:
    return Species(kind, WORDS | SIZES | settings, {"": Stacked(layers)})


def _two_sided(kind: str, prefix: str = "model.", inputs: str = "words", **settings: Any) -> Species:
    told = "audio" if inputs == "mel" else "text"
    stacks = {f"{prefix}encoder": Stacked(2, modality=told), f"{prefix}decoder": Stacked(2, 2, True, "written")}
    settings = WORDS | {"decoder_start_token_id": 2, "init_std": 0.4, "forced_eos_token_id": None} | settings
    auto = "AutoModelForSpeechSeq2Seq" if inputs == "mel" else "AutoModelForSeq2SeqLM"
    return Species(kind, settings, stacks, auto, inputs, traits=frozenset({"writes"}))


def _seen(kind: str, inputs: str = "pixels", prefix: str = "", modality: str = "video", **settings: Any) -> Species:
    return Species(kind, VISION | settings, {prefix: Stacked(2, modality=modality)}, inputs=inputs)


def _heard(kind: str, inputs: str, prefix: str = "encoder", **settings: Any) -> Species:
    return Species(kind, settings, {prefix: Stacked(2, modality="audio")}, inputs=inputs)


T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2}
SIDES = BOTH_SIDES | {"d_model": 16, "max_position_embeddings": 64}

ZOO = {
    # decoders
    "llama": _decoder("llama"),
    "qwen2": _decoder("qwen2"),
    "qwen3": _decoder("qwen3"),
    "qwen2_moe": _decoder("qwen2_moe", num_experts=3, num_experts_per_tok=2, moe_intermediate_size=12,
                          shared_expert_intermediate_size=12),
    "mistral": _decoder("mistral", sliding_window=4),
    "gemma": _decoder("gemma"),
    "gemma2": _decoder("gemma2", sliding_window=4, query_pre_attn_scalar=8),
    "gemma3": _decoder("gemma3_text", sliding_window=4, layer_types=["sliding_attention", "full_attention"]),
    "phi": _decoder("phi"),
    "phi3": _decoder("phi3"),
    "gpt2": _decoder("gpt2", "transformer", n_embd=16, n_layer=2, n_head=2, n_positions=64),
    "gpt_neox": _decoder("gpt_neox", "gpt_neox"),
    "gpt_neox sequential": _decoder("gpt_neox", "gpt_neox", use_parallel_residual=False),
    "opt": _decoder("opt", "model.decoder", ffn_dim=24, word_embed_proj_dim=16),
    "bloom": _decoder("bloom", "transformer", n_layer=2, n_head=2),
    "falcon": _decoder("falcon", "transformer", head_dim=None),
    "falcon sequential": _decoder("falcon", "transformer", head_dim=None, parallel_attn=False, alibi=True),
    "olmo": _decoder("olmo"),
    "olmo2": _decoder("olmo2"),
    # encoders of words
    "bert": _encoder("bert"),
    "roberta": _encoder("roberta"),
    "xlm-roberta": _encoder("xlm-roberta"),
    "electra": _encoder("electra", embedding_size=16),
    "deberta": _encoder("deberta", relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "deberta-v2": _encoder("deberta-v2", relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "modernbert": _encoder("modernbert", global_attn_every_n_layers=2, local_attention=6),
    "distilbert": _encoder("distilbert", dim=16, hidden_dim=24, n_layers=2, n_heads=2),
    "albert": _encoder("albert", layers=1, embedding_size=16),  # one layer, called twice
    # pictures and videos
    "vit": _seen("vit"),
    "dinov2": _seen("dinov2", prefix="encoder"),
    "dinov3": _seen("dinov3_vit", prefix="model"),
    "siglip vision": _seen("siglip_vision_model", prefix="encoder"),
    "videomae": _seen("videomae", "frames", num_frames=4),
    "vivit": _seen("vivit", "frames", num_frames=4, tubelet_size=[2, 8, 8]),
    "timesformer": _seen("timesformer", "frames", "encoder", num_frames=4),
    "vjepa2": Species("vjepa2", {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                      "crop_size": 16, "patch_size": 8, "frames_per_clip": 4, "pred_hidden_size": 16,
                      "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1},
                      {"encoder": Stacked(2, modality="video"), "predictor": Stacked(1, modality="video")},
                      inputs="clips"),
    # sounds
    "wav2vec2": _heard("wav2vec2", "samples", **SPEECH),
    "wav2vec2 stable": _heard("wav2vec2", "samples", do_stable_layer_norm=True, feat_extract_norm="layer", **SPEECH),
    "hubert": _heard("hubert", "samples", **SPEECH),
    "ast": _heard("audio-spectrogram-transformer", "spectrogram", "", max_length=32, num_mel_bins=16, patch_size=8,
                  frequency_stride=8, time_stride=8, **SIZES),
    "whisper": _two_sided("whisper", inputs="mel", num_mel_bins=8, max_source_positions=6, max_target_positions=64,
                          suppress_tokens=None, begin_suppress_tokens=None, **SIDES),
    # from words to words
    "bart": _two_sided("bart", **SIDES),
    "mbart": _two_sided("mbart", **SIDES),
    "marian": _two_sided("marian", **SIDES),
    "pegasus": _two_sided("pegasus", **SIDES),
    "led": _two_sided("led", "led.", attention_window=4, max_encoder_position_embeddings=64,
                      max_decoder_position_embeddings=64, **SIDES),
    "t5": _two_sided("t5", "", **T5),
    "mt5": _two_sided("mt5", "", **T5),
}  # fmt: skip


def make(name: str) -> Any:
    """A model, in evaluation."""
    import transformers as hf

    torch.manual_seed(0)
    species = ZOO[name]
    config = hf.AutoConfig.for_model(species.kind, **species.settings)
    return getattr(hf, species.auto).from_config(config).eval()


def feed(name: str, left: bool = False) -> dict[str, torch.Tensor]:
    """Inputs of three samples; words are padded."""
    generator = torch.Generator().manual_seed(1)
    kind = ZOO[name].inputs
    if kind == "words":
        real = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
        real = real.flip(1) if left else real
        words = torch.randint(3, 60, real.shape, generator=generator).masked_fill(~real, 1)
        return {"input_ids": words, "attention_mask": real.long()}
    key, *shape = {
        "pixels": ("pixel_values", 3, 16, 16), "frames": ("pixel_values", 4, 3, 16, 16),
        "clips": ("pixel_values_videos", 4, 3, 16, 16), "samples": ("input_values", 60),
        "spectrogram": ("input_values", 32, 16), "mel": ("input_features", 8, 12),
    }[kind]  # fmt: skip
    values = {key: torch.randn(3, *shape, generator=generator)}
    if kind == "samples":
        values["attention_mask"] = (torch.arange(60) < torch.tensor([[60], [40], [30]])).long()
    return values
