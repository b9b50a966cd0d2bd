"""Small models: this project's backbone, one of torch's layers, and the families of transformers."""

import pytest
import torch

from read.backbones.grounding.univtg import UniVTG, UniVTGConfig


def make_univtg(**settings):
    torch.manual_seed(0)
    sizes = {"video_dim": 12, "text_dim": 8, "hidden": 32, "layers": 2, "heads": 4, "feed_forward": 48}
    return UniVTG(UniVTGConfig(**(sizes | settings))).eval()


def make_batch(clips=(7, 4, 1), words=(2, 5, 3), seed=1):
    generator = torch.Generator().manual_seed(seed)
    batch, n, m = len(clips), max(clips), max(words)
    return {
        "video": torch.randn(batch, n, 12, generator=generator),
        "video_mask": torch.arange(n) < torch.tensor(clips)[:, None],
        "text": torch.randn(batch, m, 8, generator=generator),
        "text_mask": torch.arange(m) < torch.tensor(words)[:, None],
    }


def wake(model, seed=2, scale=0.3):
    """Give everything that trains other values, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


def make_transformer(kind):
    """A tiny model of transformers and inputs for it."""
    import transformers as hf

    torch.manual_seed(0)
    text = {"vocab_size": 60, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    attention = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
    if kind in ("bart", "pegasus"):
        sizes = {f"{side}_{key}": value for side in ("encoder", "decoder")
                 for key, value in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 24))}  # fmt: skip
        name = {"bart": "Bart", "pegasus": "Pegasus"}[kind]
        config = getattr(hf, f"{name}Config")(
            **text, **sizes, d_model=16, max_position_embeddings=64, decoder_start_token_id=2,
            forced_eos_token_id=None, init_std=0.4,
        )  # fmt: skip
        model = getattr(hf, f"{name}ForConditionalGeneration")(config)
    elif kind == "t5":
        config = hf.T5Config(**text, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, decoder_start_token_id=1)
        model = hf.T5ForConditionalGeneration(config)
    elif kind == "bert":
        model = hf.BertForSequenceClassification(hf.BertConfig(vocab_size=60, pad_token_id=1, **attention))
    elif kind == "clip":
        vision = attention | {"image_size": 32, "patch_size": 16}
        model = hf.CLIPModel(hf.CLIPConfig(text_config=text | attention, vision_config=vision, projection_dim=8))
    else:
        config = hf.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, **attention)
        model = hf.VideoMAEForVideoClassification(config)
    words = torch.randint(3, 60, (3, 9))
    mask = (torch.arange(9) < torch.tensor([[9], [5], [2]])).long()
    words = words.masked_fill(mask == 0, 1)
    inputs = {"input_ids": words, "attention_mask": mask}
    if kind in ("bart", "pegasus", "t5"):
        inputs["decoder_input_ids"] = torch.randint(3, 60, (3, 6))
    if kind == "clip":
        inputs["pixel_values"] = torch.randn(3, 3, 32, 32)
    if kind == "videomae":
        inputs = {"pixel_values": torch.randn(3, 4, 3, 32, 32)}
    return model.eval(), inputs


@pytest.fixture
def univtg():
    return make_univtg


@pytest.fixture
def batch():
    return make_batch()


@pytest.fixture
def batches():
    return make_batch


@pytest.fixture
def awake():
    return wake


@pytest.fixture
def transformer():
    return make_transformer
