"""Moment-DETR, and what holds of QD-DETR as well, which is built like it: the `name` of a test is one of the two.

What holds of every backbone is in `test_every_backbone`.
"""

import argparse
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from read.adapters import apply_strategy
from read.backbones import Backbone, build_backbone
from read.backbones.grounding.moment_detr import MomentDETR
from read.errors import InputError
from tests.backbones.narrow import build, forward, run
from tests.backbones.reference import CHIRP, PAIRS, recipe, reference_batch

QUIET = {"input_dropout": 0.0, "dropout": 0.0}
NAMES = ("moment_detr", "qd_detr")


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def model(name) -> Backbone:
    return build(name)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return reference_batch() | PAIRS


@pytest.mark.parametrize("training", [True, False])
def test_numbers_are_those_of_the_public_model(batch, training):
    """The file holds what the public code gave on these weights and this padded batch, dropout off."""
    expected = json.loads((Path(__file__).parent / "moment_detr_reference.json").read_text())
    model = build("moment_detr").train(training)
    model.load_state_dict(recipe(model.state_dict(), CHIRP))
    outputs = run(model, batch)
    got = {name: outputs[name] for name in ("spans", "scores")}
    got |= {"logits": outputs["logits"][:, -1], "saliency": outputs["saliency"][batch["video_mask"]]}
    centre, width = outputs["centre_width"][:, 0].unbind(-1)
    got |= {"first_logits": outputs["logits"][:, 0]}
    got |= {"first_spans": torch.stack((centre - width / 2, centre + width / 2), -1)}
    for key, values in got.items():
        torch.testing.assert_close(values.flatten(), torch.tensor(expected[key]), atol=1e-5, rtol=0)
    losses = model.losses(outputs, batch)
    assert losses.keys() == expected["losses"].keys()
    for key, value in losses.items():
        assert float(value) == pytest.approx(expected["losses"][key], abs=1e-5)


@pytest.mark.parametrize("video_dim, total", [(2304 + 512, 4_823_305), (512, 4_228_873)])
def test_size_is_the_published_one(video_dim, total):
    """The published totals count word positions too, 32 places and a norm, which the forward pass does not use."""
    with torch.device("meta"):
        model = build_backbone("moment_detr", video_dim=video_dim, text_dim=512)
    assert sum(parameter.numel() for parameter in model.parameters()) == total - (32 + 2) * 256


def test_keys_are_the_published_ones():
    def ends(*parts):
        return {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}

    def attention(name):
        return {f"{name}.in_proj_weight", f"{name}.in_proj_bias"} | ends(f"{name}.out_proj")

    layers = {
        "encoder": attention("self_attn") | ends("linear1", "linear2", "norm1", "norm2"),
        "decoder": attention("self_attn") | attention("multihead_attn")
        | ends("linear1", "linear2", "norm1", "norm2", "norm3"),
    }  # fmt: skip
    keys = {f"transformer.{stack}.layers.{i}.{key}" for stack, of in layers.items() for i in range(2) for key in of}
    keys |= ends(
        "transformer.decoder.norm", "class_embed", "saliency_proj", *(f"span_embed.layers.{i}" for i in range(3))
    )
    keys |= ends(*(f"input_{kind}_proj.{i}.{part}" for kind in ("vid", "txt") for i in range(2)
                   for part in ("LayerNorm", "net.1")))  # fmt: skip
    assert set(build("moment_detr").state_dict()) == keys | {"query_embed.weight"}


def test_losses_do_not_see_padding(model, batch):
    model.eval()
    wider = {key: nn.functional.pad(batch[key], (0, 0) * (batch[key].dim() - 2) + (0, 3)) for key in batch}
    wider |= PAIRS | {"positive": batch["positive"]}
    narrow = model.losses(run(model, batch), batch)
    for key, value in model.losses(run(model, wider), wider).items():
        torch.testing.assert_close(value, narrow[key], atol=1e-5, rtol=1e-5)


def test_padded_clips_rank_last(model, batch):
    saliency = run(model, batch)["saliency"]
    assert saliency[~batch["video_mask"]].max() < saliency[batch["video_mask"]].min() - 50


def test_a_tiny_batch_is_learned(name, batch):
    model = build(name).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    totals = []
    for _ in range(50):
        losses = model.losses(forward(model, batch), batch)
        totals.append(float(sum(losses.values()).detach()))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert totals[-1] < 0.6 * totals[0]


def test_clips_to_contrast_are_drawn_in_training_only(model):
    batch = reference_batch()
    outputs = run(model, batch)
    assert len({float(model.train().losses(outputs, batch)["saliency"]) for _ in range(20)}) > 1
    assert len({float(model.eval().losses(outputs, batch)["saliency"]) for _ in range(20)}) == 1


def test_blocks_are_what_joins_the_residual(model, batch):
    """Each block is met in the forward pass, and the last ones give the decoder's output."""
    model.eval()
    seen = {}
    for name, block in (model.feed_forward_blocks() | model.attention_blocks()).items():
        assert model.get_submodule(name) is block
        block.register_forward_hook(lambda module, args, output, name=name: seen.update({name: (args[0], output)}))
    outputs = run(model, batch)
    assert seen.keys() == (model.feed_forward_blocks() | model.attention_blocks()).keys()
    name = "transformer.decoder.layers.1"
    layer = model.get_submodule(name)
    after_first = layer.norm1(sum(seen[f"{name}.attention"]))
    torch.testing.assert_close(seen[f"{name}.cross_attention"][0], after_first)
    after_second = layer.norm2(sum(seen[f"{name}.cross_attention"]))
    torch.testing.assert_close(seen[f"{name}.feed_forward"][0], after_second)
    last = model.transformer.decoder.norm(layer.norm3(sum(seen[f"{name}.feed_forward"])))
    torch.testing.assert_close(model.class_embed(last), outputs["logits"][:, -1])


def test_encoder_blocks_are_what_joins_the_residual(batch):
    model, seen = build("moment_detr").eval(), {}
    for name, block in (model.feed_forward_blocks() | model.attention_blocks()).items():
        block.register_forward_hook(lambda module, args, output, name=name: seen.update({name: (args[0], output)}))
    states = run(model, batch)["states"]
    name = "transformer.encoder.layers.1"
    layer = model.get_submodule(name)
    torch.testing.assert_close(seen[f"{name}.feed_forward"][0], layer.norm1(sum(seen[f"{name}.attention"])))
    left = layer.norm2(sum(seen[f"{name}.feed_forward"]))
    torch.testing.assert_close(left, torch.cat((states["video"], states["text"]), dim=1))


def test_lora_reaches_every_linear_layer_and_prompts_every_torch_attention(name):
    modules = dict(build(name).named_modules())
    heads = tuple(build(name).heads())
    linear = {key for key, module in modules.items() if type(module) is nn.Linear and not key.startswith(heads)}
    attention = {key for key, module in modules.items() if type(module) is nn.MultiheadAttention}
    updated = {key for key, module in apply_strategy("lora", build(name)).named_modules() if hasattr(module, "lora_A")}
    assert linear | attention <= updated
    assert {key.replace("/", ".") for key in apply_strategy("prompt", build(name)).prompts} == attention


def published(model: nn.Module, **options) -> dict:
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    state["module.txt_position_embed.LayerNorm.bias"] = torch.zeros(16)  # in the public files, unused by them
    options = argparse.Namespace(
        nheads=2, ctx_mode="video_tef", use_txt_pos=False, device=torch.device("cpu"), **options
    )
    return {"model": state, "opt": options, "epoch": 3}


def test_published_checkpoint_loads(model, tmp_path):
    path = tmp_path / "model_best.ckpt"
    torch.save(published(model), path)
    loaded = type(model).load_published(path, **QUIET)
    assert loaded.digest() == model.digest() and loaded.config == model.config


def test_published_checkpoint_with_other_keys_lists_them(tmp_path):
    content = published(build("moment_detr"))
    del content["model"]["module.saliency_proj.bias"]
    content["model"]["module.contrastive_align_projection_txt.weight"] = torch.zeros(8, 16)
    content["opt"].use_txt_pos = True
    torch.save(content, tmp_path / "x.ckpt")
    unexpected = r"contrastive_align_projection_txt\.weight, txt_position_embed\.LayerNorm\.bias"
    with pytest.raises(InputError, match=rf"missing keys: saliency_proj\.bias; unexpected keys: {unexpected}"):
        MomentDETR.load_published(tmp_path / "x.ckpt")


def test_bad_settings(name):
    with pytest.raises(InputError, match="queries must be at least 1"):
        build(name, queries=0)
