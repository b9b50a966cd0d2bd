"""Small random models of the families that transformers ships, and inputs for them."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch

LENGTHS = (7, 4, 2)  # words of three samples
SAMPLES = (60, 40, 30)  # of sounds
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
    attention: int | tuple[int, ...] = 1  # blocks a layer, of each where they differ
    causal: bool = False
    modality: str = "text"
    feed_forward: int | tuple[int, ...] = 1

    def blocks(self, kind: str) -> list[int]:
        """How many of a kind each layer has."""
        each = getattr(self, kind)
        return [each] * self.layers if isinstance(each, int) else list(each)


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


EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 12,
           "shared_expert_intermediate_size": 12}  # fmt: skip
SCANS = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 4, "mamba_n_groups": 1, "mamba_chunk_size": 4}
LINEAR = {"layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 2, "linear_num_key_heads": 2,
          "linear_key_head_dim": 8, "linear_value_head_dim": 8}  # fmt: skip


def _hybrid(kind: str, **settings: Any) -> Species:
    """A decoder of which the second layer alone has attention."""
    return replace(_decoder(kind, **settings), stacks={"model": Stacked(2, (0, 1), causal=True)})


GRIDS = {"depth": 2, "num_heads": 2, "patch_size": 8, "temporal_patch_size": 2, "spatial_merge_size": 2}
TEXT = LANGUAGE | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}}
PICTURE, VIDEO = 50, 51  # ids of what stands for parts of pictures and of frames


def _talker(kind: str, tower: str, decoder: str, inputs: str, **settings: Any) -> Species:
    """A model of words and pictures; its decoder writes."""
    stacks = {tower: Stacked(2, modality="video"), decoder: Stacked(2, causal=True)}
    return Species(kind, settings, stacks, "AutoModelForImageTextToText", inputs, frozenset({"writes"}))


XLM = {"emb_dim": 16, "n_layers": 2, "n_heads": 2, "pad_index": 1}
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
    "gpt": _decoder("openai-gpt", "transformer", n_embd=16, n_layer=2, n_head=2, n_positions=64),
    "gpt_neox": _decoder("gpt_neox", "gpt_neox"),
    "gpt_neox sequential": _decoder("gpt_neox", "gpt_neox", use_parallel_residual=False),
    "opt": _decoder("opt", "model.decoder", ffn_dim=24, word_embed_proj_dim=16),
    "bloom": _decoder("bloom", "transformer", n_layer=2, n_head=2),
    "falcon": _decoder("falcon", "transformer", head_dim=None),
    "falcon sequential": _decoder("falcon", "transformer", head_dim=None, parallel_attn=False, alibi=True),
    "olmo": _decoder("olmo"),
    "olmo2": _decoder("olmo2"),
    "gpt_oss": _decoder("gpt_oss", num_local_experts=2, num_experts_per_tok=1),
    "deepseek_v3": _decoder("deepseek_v3", num_key_value_heads=2, head_dim=None, n_routed_experts=4, n_group=1,
                            topk_group=1, num_experts_per_tok=1, first_k_dense_replace=1, moe_intermediate_size=12,
                            q_lora_rank=8, kv_lora_rank=8, qk_rope_head_dim=4, qk_nope_head_dim=4, v_head_dim=8),
    "llama4": _decoder("llama4_text", intermediate_size_mlp=24, num_local_experts=2, attention_chunk_size=8,
                       moe_layers=[1]),
    # decoders of which some layers have a scan, a convolution or linear attention
    "jamba": _hybrid("jamba", attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
                     num_experts=2, mamba_d_state=4, mamba_d_conv=3, mamba_expand=2, mamba_dt_rank=4),
    "lfm2": _hybrid("lfm2", layer_types=["conv", "full_attention"], block_multiple_of=4),
    "bamba": _hybrid("bamba", attn_layer_indices=[1], **SCANS),
    "granitemoehybrid": _hybrid("granitemoehybrid", layer_types=["mamba", "attention"], num_local_experts=0,
                                shared_intermediate_size=12, **SCANS),
    "falcon_h1": _decoder("falcon_h1", mamba_d_ssm=32, **SCANS),
    "qwen3_next": _decoder("qwen3_next", **LINEAR, **EXPERTS),
    "qwen3_5": _decoder("qwen3_5_text", **LINEAR),
    "minimax": _decoder("minimax", layer_types=["linear_attention", "full_attention"], num_local_experts=2,
                        num_experts_per_tok=1, block_size=4),
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
    "xlm": _encoder("xlm", **XLM),
    "flaubert": _encoder("flaubert", **XLM),
    # pictures and videos
    "vit": _seen("vit"),
    "dinov2": _seen("dinov2", prefix="encoder"),
    "dinov3": _seen("dinov3_vit", prefix="model"),
    "siglip vision": _seen("siglip_vision_model", prefix="encoder"),
    "videomae": _seen("videomae", "frames", num_frames=4),
    "vivit": _seen("vivit", "frames", num_frames=4, tubelet_size=[2, 8, 8]),
    "timesformer": Species("timesformer", VISION | {"num_frames": 4},
                           {"encoder": Stacked(2, 2, modality="video")}, inputs="frames"),
    "swin": Species("swin", {"image_size": 16, "patch_size": 2, "num_channels": 3, "embed_dim": 8, "depths": [2, 1],
                    "num_heads": [2, 2], "window_size": 3},
                    {"encoder.layers.0": Stacked(1, 2, modality="video", feed_forward=2),
                     "encoder.layers.1": Stacked(1, modality="video")}, inputs="pixels"),
    "vjepa2": Species("vjepa2", {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                      "crop_size": 16, "patch_size": 8, "frames_per_clip": 4, "pred_hidden_size": 16,
                      "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1},
                      {"encoder": Stacked(2, modality="video"), "predictor": Stacked(1, modality="video")},
                      inputs="clips"),
    "xclip": Species("xclip", {
        "text_config": LANGUAGE, "vision_config": VISION | {
            "num_frames": 4, "mit_hidden_size": 16, "mit_intermediate_size": 24, "mit_num_hidden_layers": 1,
            "mit_num_attention_heads": 2},
        "projection_dim": 16, "prompt_layers": 1, "prompt_num_attention_heads": 2},
        {"text_model": Stacked(2, causal=True), "vision_model": Stacked(2, modality="video"),
         "mit": Stacked(1, modality="video")}, inputs="two"),
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
    "t5gemma": _two_sided("t5gemma", encoder=LANGUAGE, decoder=LANGUAGE | {"cross_attention_hidden_size": 16}),
    # towers inside models of words and pictures
    "siglip": Species("siglip", {"text_config": LANGUAGE, "vision_config": VISION},
                      {"text_model": Stacked(2), "vision_model": Stacked(2, modality="video")}, inputs="two"),
    "clap": Species("clap", {
        "text_config": WORDS | SIZES | {"projection_dim": 8},
        "audio_config": {"window_size": 2, "num_mel_bins": 16, "spec_size": 32, "patch_size": 4, "patch_stride": [4, 4],
                         "depths": [1, 1], "num_attention_heads": [2, 2], "hidden_size": 16, "projection_dim": 8,
                         "patch_embeds_hidden_size": 8, "num_hidden_layers": 2, "enable_fusion": False},
        "projection_dim": 8},
        {"text_model": Stacked(2), "audio_model": Stacked(2, modality="audio")}, inputs="heard"),
    "blip-2": Species("blip-2", {
        "qformer_config": WORDS | SIZES | {"encoder_hidden_size": 16, "cross_attention_frequency": 1},
        "vision_config": VISION,
        "text_config": {"model_type": "opt", "ffn_dim": 24, "word_embed_proj_dim": 16} | LANGUAGE,
        "num_query_tokens": 3, "image_token_index": PICTURE},
        {"vision_model": Stacked(2, modality="video"), "qformer": Stacked(2, 2, modality="video"),
         "language_model": Stacked(2, causal=True)},
        "AutoModelForImageTextToText", "3 pictures", frozenset({"writes"})),
    "llava": _talker("llava", "model.vision_tower", "model.language_model", "4 pictures", image_token_index=PICTURE,
                     text_config=LANGUAGE | {"model_type": "llama"}, vision_feature_layer=-1,
                     vision_config=VISION | {"model_type": "clip_vision_model"}),
    "internvl": _talker("internvl", "model.vision_tower", "model.language_model", "1 pictures",
                        text_config=LANGUAGE | {"model_type": "qwen2"}, vision_feature_layer=-1,
                        vision_config=VISION | {"image_size": [16, 16], "patch_size": [8, 8]},
                        image_token_id=PICTURE, downsample_ratio=0.5),
    "idefics3": _talker("idefics3", "model.vision_model", "model.text_model", "1 pictures", scale_factor=2,
                        text_config=LANGUAGE | {"model_type": "llama"}, vision_config=VISION, image_token_id=PICTURE,
                        pad_token_id=1),
    "smolvlm": _talker("smolvlm", "model.vision_model", "model.text_model", "1 pictures", scale_factor=2,
                       text_config=LANGUAGE | {"model_type": "llama"}, vision_config=VISION, image_token_id=PICTURE,
                       pad_token_id=1),
    "llava_next_video": _talker("llava_next_video", "model.vision_tower", "model.language_model", "4 frames",
                                text_config=LANGUAGE | {"model_type": "llama"}, vision_feature_layer=-1,
                                vision_config=VISION | {"model_type": "clip_vision_model"}, image_token_index=PICTURE,
                                video_token_index=VIDEO, image_grid_pinpoints=[[16, 16]]),
    "video_llama_3": _talker("video_llama_3", "model.vision_model", "model.language_model", "packed",
                             text_config=LANGUAGE | {"model_type": "qwen2"}, vision_config=VISION,
                             image_token_id=PICTURE, video_token_id=VIDEO),
    "qwen2_vl": _talker("qwen2_vl", "model.visual", "model.language_model", "packed",
                        text_config=TEXT, vision_config=GRIDS | {"embed_dim": 16, "hidden_size": 16, "mlp_ratio": 2},
                        image_token_id=PICTURE, video_token_id=VIDEO),
    "qwen2_5_vl": _talker("qwen2_5_vl", "model.visual", "model.language_model", "packed", text_config=TEXT,
                          vision_config=GRIDS | {"hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 16,
                                                 "window_size": 16, "fullatt_block_indexes": [1]},
                          image_token_id=PICTURE, video_token_id=VIDEO),
    "qwen3_vl": _talker("qwen3_vl", "model.visual", "model.language_model", "packed", text_config=TEXT,
                        vision_config=GRIDS | {"hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 16,
                                               "num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
                        image_token_id=PICTURE, video_token_id=VIDEO),
}  # fmt: skip


def make(name: str) -> Any:
    """A model, in evaluation."""
    model = deepcopy(_made(name))
    torch.manual_seed(0)
    return model


@cache
def _made(name: str) -> Any:
    import transformers as hf

    torch.manual_seed(0)
    species = ZOO[name]
    config = hf.AutoConfig.for_model(species.kind, **species.settings)
    model = getattr(hf, species.auto).from_config(config).eval()
    if name == "blip-2":
        torch.nn.init.normal_(model.query_tokens)  # all zero, of which attention gives nothing
    return model


def feed(name: str, left: bool = False, rows: Sequence[int] = (0, 1, 2)) -> dict[str, torch.Tensor]:
    """Inputs of some of three samples; the words are padded as far as these need, on the right or on the left."""
    generator = torch.Generator().manual_seed(1)
    kind, rows = ZOO[name].inputs, list(rows)
    words = _words(name, rows, left, torch.randint(3, 50, (3, max(LENGTHS)), generator=generator))
    if kind == "words":
        return words
    if kind.endswith("pictures"):
        shape = (3, 1, 3, 16, 16) if name in ("idefics3", "smolvlm") else (3, 3, 16, 16)
        return words | {"pixel_values": torch.randn(shape, generator=generator)[rows]}
    if kind == "4 frames":  # of 2 x 2 patches each, pooled to one
        return words | {"pixel_values_videos": torch.randn(3, 4, 3, 16, 16, generator=generator)[rows]}
    if kind == "packed":  # two moments of 2 x 2 patches
        patches = torch.randn(3, 8, 192 * (1 if name == "video_llama_3" else 2), generator=generator)
        told = {
            "pixel_values_videos": patches[rows].flatten(0, 1),
            "video_grid_thw": torch.tensor([[2, 2, 2]] * len(rows)),
        }
        if name == "video_llama_3":
            return words | told | {"video_merge_sizes": torch.tensor([2] * len(rows))}
        return words | told | {"mm_token_type_ids": (words["input_ids"] == VIDEO).int() * 2}
    key, *shape = {
        "pixels": ("pixel_values", 3, 16, 16), "frames": ("pixel_values", 4, 3, 16, 16),
        "clips": ("pixel_values_videos", 4, 3, 16, 16), "samples": ("input_values", 60),
        "spectrogram": ("input_values", 32, 16), "mel": ("input_features", 8, 12),
        "two": ("pixel_values", *((4, 3, 16, 16) if name == "xclip" else (3, 16, 16))),
        "heard": ("input_features", 1, 32, 16),
    }[kind]  # fmt: skip
    values = {key: torch.randn(3, *shape, generator=generator)[rows]}
    if kind == "samples":
        lengths = torch.tensor(SAMPLES)[rows]
        real = torch.arange(int(lengths.max())) < lengths[:, None]
        values = {key: _shifted(values[key][:, : real.shape[1]], real, left), "attention_mask": real.long()}
        return values | {"attention_mask": _shifted(real.long(), real, left)}
    return values | words if kind in ("two", "heard") else values


def _words(name: str, rows: Sequence[int], left: bool, drawn: torch.Tensor) -> dict[str, torch.Tensor]:
    kind = ZOO[name].inputs
    before = torch.full((len(rows), int(kind.split()[0])), PICTURE) if kind.endswith("pictures") else drawn[rows, :0]
    if kind == "4 frames":
        before = torch.full((len(rows), 4), VIDEO)
    if kind == "packed":
        before = torch.tensor([[VIDEO, 5, VIDEO] if name == "qwen3_vl" else [VIDEO, VIDEO, 5]] * len(rows))
    lengths = torch.tensor(LENGTHS)[rows] + before.shape[1]
    ids = torch.cat((before, drawn[rows]), dim=1)[:, : int(lengths.max())]
    real = torch.arange(ids.shape[1]) < lengths[:, None]
    ids = _shifted(ids.masked_fill(~real, 1), real, left)
    return {"input_ids": ids, "attention_mask": _shifted(real.long(), real, left)}


def _shifted(values: torch.Tensor, real: torch.Tensor, left: bool) -> torch.Tensor:
    """What is padded on the right, padded on the left."""
    if not left:
        return values
    return torch.stack([row.roll(int((~mask).sum())) for row, mask in zip(values, real, strict=True)])
