"""Video-language models that say in other ways which tokens are frames; small random ones, of ids made by hand."""

import pytest
import torch

from read.adapters import AdapterConfig, inject

hf = pytest.importorskip("transformers")

TEXT = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
QWEN = TEXT | {"model_type": "qwen2"}
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}}
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 7}
DEEP = {"depth": 2, "num_heads": 2, "patch_size": 7}
P, F = 90, 91  # ids of pictures and of frames
THREE = torch.tensor([[3, 4, 4]])  # a video's frames, rows and columns, which are merged two by two


def internvl():
    """Frames are pictures between words."""
    vision = VISION | {"image_size": [28, 28], "patch_size": [7, 7]}
    config = hf.InternVLConfig(
        vision_config=vision, text_config=QWEN, image_token_id=P, image_seq_length=4, downsample_ratio=0.5
    )
    ids = [5, *[P] * 4, 6, *[P] * 4, 7, *[P] * 4, 8, 9]
    return (
        hf.InternVLForConditionalGeneration(config),
        ids,
        {"pixel_values": torch.randn(3, 3, 28, 28)},
        "-abcd" * 3 + "--",
    )


def llava_onevision():
    """A token of its own ends a video."""
    config = hf.LlavaOnevisionConfig(
        vision_config=VISION | {"model_type": "siglip_vision_model", "image_size": 28}, text_config=QWEN,
        image_token_index=P, video_token_index=F, image_grid_pinpoints=[[28, 28]],
    )  # fmt: skip
    model = hf.LlavaOnevisionForConditionalGeneration(config)
    return model, [5, *[F] * 13, 8], {"pixel_values_videos": torch.randn(1, 3, 3, 28, 28)}, "-" + "abcd" * 3 + "a-"


def qwen2_vl():
    """As Qwen2.5-VL."""
    vision = DEEP | {
        "embed_dim": 16,
        "hidden_size": 32,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "mlp_ratio": 2,
    }
    config = hf.Qwen2VLConfig(text_config=TEXT | ROPE, vision_config=vision, image_token_id=P, video_token_id=F)
    pixels = {"pixel_values_videos": torch.randn(48, 294), "video_grid_thw": THREE}
    return hf.Qwen2VLForConditionalGeneration(config), [5, *[F] * 12, 8, 9], pixels, "-" + "abcd" * 3 + "--"


def video_llama_3():
    """Tokens that hardly change from frame to frame are left out."""
    config = hf.VideoLlama3Config(text_config=QWEN, vision_config=VISION, image_token_id=P, video_token_id=F)
    kept = torch.arange(12) != 9
    pixels = {"pixel_values_videos": torch.randn(48, 147), "video_grid_thw": THREE,
              "video_merge_sizes": torch.tensor([2]), "video_compression_mask": kept}  # fmt: skip
    ids = [5, *[F] * 4, 6, *[F] * 4, 6, *[F] * 3, 8]
    return hf.VideoLlama3ForConditionalGeneration(config), ids, pixels, "-abcd-abcd-acd-"


def glm4v():
    """Frames of a video have the id of pictures."""
    vision = DEEP | {"hidden_size": 16, "image_size": 28, "out_hidden_size": 32, "intermediate_size": 24}
    config = hf.Glm4vConfig(text_config=TEXT | ROPE, vision_config=vision, image_token_id=P, video_token_id=F)
    pixels = {"pixel_values_videos": torch.randn(48, 294), "video_grid_thw": THREE}
    ids = [5, *[P] * 4, 6, *[P] * 4, 6, *[P] * 4, 8]
    return hf.Glm4vForConditionalGeneration(config), ids, pixels, "-abcd" * 3 + "-"


@pytest.mark.parametrize("make", [internvl, llava_onevision, qwen2_vl, video_llama_3, glm4v])
def test_places_of_frames_are_told_and_no_earlier_token_sees_a_later_one(make, awake):
    torch.manual_seed(0)
    model, ids, inputs, letters = make()
    inputs = {"input_ids": torch.tensor([ids])} | inputs
    if make in (qwen2_vl, glm4v):
        inputs["mm_token_type_ids"] = 2 * torch.tensor([[number in (P, F) for number in ids]]).int()
    with torch.no_grad():
        plain = model.eval()(**inputs).logits
        inject(model)
        assert torch.equal(model(**inputs).logits, plain)
    assert len(model.adapters.places) == 4
    awake(inject(model, AdapterConfig(targets=("language_model.layers.*.mlp",)), "decoder"))
    layouts = []
    for layer in model.adapters["decoder"].values():
        layer.register_forward_pre_hook(lambda module, args: layouts.append(args[1]))
    with torch.no_grad():
        before = model(**inputs).logits
        last = {"input_ids": inputs["input_ids"].clone()}
        last["input_ids"][0, -1] = 50
        after = model(**inputs | last).logits
    assert torch.equal(before[:, :-1], after[:, :-1]) and not torch.equal(before, after)
    layout = layouts[0]
    chains = [row for row, length in enumerate(layout.lengths.tolist()) for _ in range(length)]
    rows = (layout.place[0] // layout.source.shape[1]).tolist()
    assert sorted(rows) == chains
    assert "".join("-abcd"[row] for row in rows) == letters
