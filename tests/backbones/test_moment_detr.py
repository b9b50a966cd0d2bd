"""Moment-DETR, and what holds of QD-DETR as well, which is built like it: the `name` of a test is one of the two."""

import argparse
import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from read.adapters import apply_strategy, strategy_names, trainable_parameters
from read.alignment import Alignment
from read.backbones import Backbone, build_backbone, load_backbone
from read.backbones.grounding.moment_detr import MomentDETR
from read.errors import InputError
from tests.backbones.reference import CHIRP, INPUTS, LENGTHS, PAIRS, SIZES, WORDS, recipe, reference_batch

DETR = SIZES | {"queries": 4}
QUIET = {"input_dropout": 0.0, "dropout": 0.0}
NAMES = ("moment_detr", "qd_detr")
NOT_IDENTICAL_AT_START = {"prompt"}


def build(name: str, **settings) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(name, **(DETR | QUIET | settings))


def forward(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict:
    return model(*(batch[name] for name in INPUTS))


@torch.no_grad()
def run(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict:
    return forward(model, batch)


def cut(batch: dict[str, torch.Tensor], sample: int) -> dict[str, torch.Tensor]:
    stops = {"video": LENGTHS[sample], "text": WORDS[sample]}
    return {key: batch[key][sample : sample + 1, : stops[key.removesuffix("_mask")]] for key in INPUTS}


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
    got |= {"logits": outputs["logits"][-1], "saliency": outputs["saliency"][batch["video_mask"]]}
    centre, width = outputs["centre_width"][0].unbind(-1)
    got |= {"first_logits": outputs["logits"][0]}
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


def test_padding_changes_nothing(model, batch):
    model.eval()
    noisy = batch | {key: torch.where(batch[f"{key}_mask"][..., None], batch[key], 7.0) for key in ("video", "text")}
    together = run(model, noisy)
    for sample, (clips, words) in enumerate(zip(LENGTHS, WORDS, strict=True)):
        alone = run(model, cut(batch, sample))
        for key, stop in (("spans", 4), ("scores", 4), ("saliency", clips)):
            torch.testing.assert_close(together[key][sample, :stop], alone[key][0], atol=1e-5, rtol=1e-5)
        for key, stop in (("video", clips), ("text", words)):
            got, want = together["states"][key][sample, :stop], alone["states"][key][0]
            torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stops_before_the_losses(model, batch, dtype):
    model.eval()
    with torch.autocast("cpu", dtype):
        halved = run(model, batch)
    whole = run(model, batch)
    for key in ("spans", "scores", "saliency", "logits", "centre_width"):
        assert halved[key].dtype == torch.float32
        torch.testing.assert_close(halved[key], whole[key], atol=0.05, rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_trains(model, batch, dtype):
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype, enabled=enabled):
            losses = model.losses(forward(model, batch), batch)
        assert all(value.dtype == torch.float32 for value in losses.values())
        sum(losses.values()).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert gradients[1].isfinite().all()
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_whole_model_in_half_precision(model, batch, dtype):
    expected = run(model.eval(), batch)
    halves = {key: batch[key].to(dtype) if batch[key].is_floating_point() else batch[key] for key in INPUTS}
    got = run(model.to(dtype), halves)
    for key in ("spans", "scores", "saliency"):
        torch.testing.assert_close(got[key], expected[key], atol=0.05, rtol=0.05)


def test_gradient_reaches_everything(model, batch):
    sum(model.train().losses(forward(model, batch), batch).values()).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


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


def test_nothing_to_find_is_no_nan(model, batch):
    nothing = {key: torch.zeros_like(batch[key]) for key in ("windows_mask", "saliency", "relevant")}
    losses = model.losses(forward(model, batch), batch | nothing)
    assert all(torch.isfinite(value) for value in losses.values())
    assert losses["span"] == losses["giou"] == losses["saliency"] == 0
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


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
    torch.testing.assert_close(model.class_embed(last), outputs["logits"][-1])


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


def test_segments_cover_what_blocks_see(model, batch):
    found = model.segments(batch["video_mask"], batch["text_mask"])
    shapes = {}
    for name, block in (model.feed_forward_blocks() | model.attention_blocks()).items():
        block.register_forward_hook(lambda module, args, output, name=name: shapes.update({name: output.shape}))
    run(model, batch)
    for name, shape in shapes.items():
        (segments,) = (found[prefix] for prefix in found if name.startswith(f"{prefix}."))
        assert [0, *(segment.stop for segment in segments)] == [*(segment.start for segment in segments), shape[1]]
        assert all(segment.mask.shape == (3, segment.stop - segment.start) for segment in segments)
    modalities = {prefix: [segment.modality for segment in segments] for prefix, segments in found.items()}
    assert modalities.pop("transformer.decoder") == ["queries"]
    assert all("video" in of for of in modalities.values())


def test_heads_are_prefixes_of_parameters(model):
    names = [name for name, _ in model.named_parameters()]
    assert all(any(name.startswith(f"{head}.") for name in names) for head in model.heads())


def test_a_copy_has_blocks_of_its_own(model, batch):
    twin = copy.deepcopy(model).eval()
    before = run(twin, batch)["scores"]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(run(twin, batch)["scores"], before)


@pytest.mark.parametrize("strategy", strategy_names())
def test_every_strategy_starts_where_the_model_is_and_trains(name, batch, strategy):
    plain = build(name).eval()
    before = forward(plain, batch)
    model = apply_strategy(strategy, build(name).eval())
    after = forward(model, batch)
    if strategy not in NOT_IDENTICAL_AT_START:
        assert all(torch.equal(before[key], after[key]) for key in ("spans", "scores", "saliency"))
    model.train()
    kept = {key: value.detach().clone() for key, value in model.named_parameters()}
    trained = set(trainable_parameters(model).names)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(2):  # in the first step only W_up of a bottleneck has a gradient
        optimizer.zero_grad()
        loss = sum(model.losses(forward(model, batch), batch).values())
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, kept[key])}
    assert moved <= trained and len(moved) > 0.5 * len(trained)


def wake(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("strategy", ["prompt", "lora", "adapter", "st_adapter", "read"])
def test_padding_changes_nothing_with_a_trained_strategy(name, batch, strategy):
    model = wake(apply_strategy(strategy, build(name))).eval()
    together = run(model, batch)
    for sample, clips in enumerate(LENGTHS):
        alone = run(model, cut(batch, sample))
        for key, stop in (("spans", 4), ("scores", 4), ("saliency", clips)):
            torch.testing.assert_close(together[key][sample, :stop], alone[key][0], atol=1e-5, rtol=1e-5)


def test_lora_reaches_every_linear_layer_and_prompts_every_torch_attention(name):
    modules = dict(build(name).named_modules())
    heads = tuple(build(name).heads())
    linear = {key for key, module in modules.items() if type(module) is nn.Linear and not key.startswith(heads)}
    attention = {key for key, module in modules.items() if type(module) is nn.MultiheadAttention}
    updated = {key for key, module in apply_strategy("lora", build(name)).named_modules() if hasattr(module, "lora_A")}
    assert linear | attention <= updated
    assert {key.replace("/", ".") for key in apply_strategy("prompt", build(name)).prompts} == attention


def test_alignment_works(name, batch):
    model = apply_strategy("read_pvla", build(name)).train()
    forward(model, batch)
    loss = Alignment()(model)
    loss.backward()
    assert torch.isfinite(loss) and loss > 0


def test_save_and_load(model, batch, tmp_path):
    model.save(tmp_path / "backbone")
    loaded = load_backbone(tmp_path / "backbone")
    assert loaded.config == model.config and loaded.digest() == model.digest()
    assert torch.equal(run(loaded.eval(), batch)["spans"], run(model.eval(), batch)["spans"])


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


def test_files_without_the_weights_that_tell_sizes_are_refused(name, tmp_path):
    torch.save({"model": {}}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="missing keys"):
        type(build(name)).load_published(tmp_path / "x.ckpt")


def test_bad_settings(name):
    with pytest.raises(InputError, match="queries must be at least 1"):
        build(name, queries=0)
