"""QD-DETR: published keys and numbers, negatives, audio. What it shares with Moment-DETR is in `test_moment_detr`."""

import argparse
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from read.adapters import apply_strategy
from read.backbones import build_backbone
from read.backbones.grounding.qd_detr import QDDETR
from read.backbones.qd_detr_layers import OutputAttention, inverse_sigmoid, sine_embedding
from read.errors import InputError
from tests.backbones.reference import CHIRP, INPUTS, LENGTHS, PAIRS, SIZES, WORDS, recipe, reference_batch

DETR = SIZES | {"queries": 4, "input_dropout": 0.0, "dropout": 0.0}


def build(**settings) -> QDDETR:
    torch.manual_seed(0)
    return build_backbone("qd_detr", **(DETR | settings))


@torch.no_grad()
def run(model: nn.Module, batch: dict[str, torch.Tensor], **audio: torch.Tensor) -> dict:
    return model(*(batch[name] for name in INPUTS), **audio)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return reference_batch() | PAIRS


@pytest.mark.parametrize("training", [True, False])
def test_numbers_are_those_of_the_public_model(training):
    """The file holds what the public code gave on these weights and this padded batch, dropout off.

    Its sine embedding was cut from the 256 that it is fixed to. The words' lengths are such that its attention mask,
    whose rows go to the heads of other samples, takes no word from a real clip; here each sample has its own mask.
    """
    expected = json.loads((Path(__file__).parent / "qd_detr_reference.json").read_text())
    batch = reference_batch((3, 6, 6)) | PAIRS
    model = build().train(training)
    model.load_state_dict(recipe(model.state_dict(), CHIRP))
    outputs = run(model, batch)
    got = {name: outputs[name] for name in ("spans", "scores")}
    got |= {name: outputs[name][batch["video_mask"]] for name in ("saliency", "negative")}
    centre, width = outputs["centre_width"][:, 0].unbind(-1)
    got |= {"logits": outputs["logits"][:, -1], "first_logits": outputs["logits"][:, 0]}
    got |= {"first_spans": torch.stack((centre - width / 2, centre + width / 2), -1)}
    for key, values in got.items():
        torch.testing.assert_close(values.flatten(), torch.tensor(expected[key]), atol=1e-5, rtol=0)
    losses = model.losses(outputs, batch)
    assert losses.keys() == expected["losses"].keys()
    for key, value in losses.items():
        assert float(value) == pytest.approx(expected["losses"][key], abs=1e-5)


@pytest.mark.parametrize("video_dim, total", [(2304 + 512, 7_585_573), (512, 6_991_141)])
def test_size_is_that_of_the_public_model(video_dim, total):
    """The totals of the public code count word positions too, 32 places and a norm, which its forward does not use."""
    with torch.device("meta"):
        model = build_backbone("qd_detr", video_dim=video_dim, text_dim=512)
    assert sum(parameter.numel() for parameter in model.parameters()) == total - (32 + 2) * 256


def test_keys_are_the_published_ones():
    def ends(*parts):
        return {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}

    encoder = {"self_attn.in_proj_weight", "self_attn.in_proj_bias", "activation.weight"}
    encoder |= ends("self_attn.out_proj", "linear1", "linear2", "norm1", "norm2")
    projections = [f"sa_{part}_proj" for part in ("qcontent", "qpos", "kcontent", "kpos", "v")]
    projections += [f"ca_{part}_proj" for part in ("qcontent", "kcontent", "kpos", "v", "qpos_sine")]
    decoder = {"activation.weight"} | ends(
        *projections, "self_attn.out_proj", "cross_attn.out_proj", "linear1", "linear2"
    )
    decoder |= ends("norm1", "norm2", "norm3")
    layers = {"t2v_encoder": encoder, "encoder": encoder, "decoder": decoder}
    keys = {f"transformer.{stack}.layers.{i}.{key}" for stack, of in layers.items() for i in range(2) for key in of}
    keys |= ends("transformer.decoder.layers.0.ca_qpos_proj", "transformer.decoder.norm")
    for head, count in {"query_scale": 2, "ref_point_head": 2, "ref_anchor_head": 2, "bbox_embed": 3}.items():
        keys |= ends(*(f"transformer.decoder.{head}.layers.{i}" for i in range(count)))
    keys |= ends("class_embed", "saliency_proj1", "saliency_proj2", *(f"span_embed.layers.{i}" for i in range(3)))
    keys |= ends(*(f"input_{kind}_proj.{i}.{part}" for kind in ("vid", "txt") for i in range(2)
                   for part in ("LayerNorm", "net.1")))  # fmt: skip
    assert set(build().state_dict()) == keys | {"query_embed.weight", "global_rep_token", "global_rep_pos"}


def test_negatives_are_the_videos_with_the_next_sentence(batch):
    model = build().eval()
    negative = run(model, batch)["negative"]
    swapped = run(model, batch | {name: batch[name].roll(-1, 0) for name in ("text", "text_mask")})
    torch.testing.assert_close(negative, swapped["saliency"])


def test_a_batch_of_one_has_no_negative(batch):
    model = build()
    one = {name: value[:1] for name, value in batch.items()}
    outputs = run(model, one)
    losses = model.losses(outputs, one)
    assert outputs["negative"] is None and losses["saliency_negative"] == 0
    assert torch.isfinite(losses["saliency_rank"]) and losses["saliency_rank"] > 0


def test_negatives_run_before_what_hooks_keep(batch):
    """So that a hook's last word is of the videos with their own sentences."""
    model, seen = build().eval(), {}
    name = "transformer.t2v_encoder.layers.0.attention"
    model.get_submodule(name).register_forward_hook(lambda module, args, output: seen.update({name: output}))
    run(model, batch)
    together = seen[name]
    alone = run(model, {key: value[:1] for key, value in batch.items()}), seen[name]
    torch.testing.assert_close(together[:1], alone[1])


def test_encoder_blocks_are_what_joins_the_residual(batch):
    model, seen = build().eval(), {}
    for name, block in (model.feed_forward_blocks() | model.attention_blocks()).items():
        block.register_forward_hook(lambda module, args, output, name=name: seen.update({name: (args[0], output)}))
    states = run(model, batch)["states"]
    name = "transformer.t2v_encoder.layers.1"
    layer = model.get_submodule(name)
    joined = sum(seen[f"{name}.attention"])
    torch.testing.assert_close(seen[f"{name}.feed_forward"][0], layer.norm1(joined))
    left = layer.norm2(joined + seen[f"{name}.feed_forward"][1])
    entered = seen["transformer.encoder.layers.0.attention"][0]
    torch.testing.assert_close(entered[:, 1:], left)
    torch.testing.assert_close(entered[:, 0], model.global_rep_token.expand(3, -1))
    name = "transformer.encoder.layers.1"
    layer = model.get_submodule(name)
    torch.testing.assert_close(layer.norm2(sum(seen[f"{name}.feed_forward"]))[:, 1:], states["video"])
    torch.testing.assert_close(states["text"], model.input_txt_proj(batch["text"]))


def test_audio_is_heard_and_silence_is_zeros(batch):
    model = build(audio_dim=3).eval()
    assert model.input_vid_proj[0].LayerNorm.weight.shape == (6 + 2 + 3 + 2,)
    sound = torch.randn(3, 7, 3)
    silent, heard = run(model, batch), run(model, batch, audio=sound)
    assert not torch.allclose(silent["spans"], heard["spans"])
    assert torch.equal(silent["spans"], run(model, batch, audio=torch.zeros(3, 7, 3))["spans"])
    deaf = build().eval()
    assert torch.equal(run(deaf, batch)["spans"], run(deaf, batch, audio=sound)["spans"])


def test_audio_without_ends(batch):
    model = build(audio_dim=3, tef=False).eval()
    assert model.input_vid_proj[0].LayerNorm.weight.shape == (6 + 3,)
    assert run(model, batch)["spans"].isfinite().all()


def test_published_checkpoint_with_audio_loads(tmp_path):
    model = build(audio_dim=3)
    options = argparse.Namespace(nheads=2, ctx_mode="video_tef", a_feat_dir="features", a_feat_dim=3 + 2)
    torch.save({"model": model.state_dict(), "opt": options}, tmp_path / "model_best.ckpt")
    loaded = QDDETR.load_published(tmp_path / "model_best.ckpt", input_dropout=0.0, dropout=0.0)
    assert loaded.config == model.config and loaded.digest() == model.digest()


def test_attention_sums_the_logits_of_its_parts():
    """Against heads computed one by one, with all that torch's attention does but the projections."""
    torch.manual_seed(0)
    attention = OutputAttention(8, 2, 0.0)
    query, key, values = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 6, 8), torch.randn(3, 6, 8)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        logits = sum(one[..., head] @ other[..., head].mT for one, other in zip(query, key, strict=True)) / math.sqrt(8)
        heads.append(logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1) @ values[..., head])
    want = attention.out_proj(torch.cat(heads, -1))
    torch.testing.assert_close(attention(tuple(query), tuple(key), values, mask), want)


def test_positions_of_spans():
    assert sine_embedding(torch.rand(2, 3, 2), 16).shape == (2, 3, 16)
    got = sine_embedding(torch.tensor([[[0.25, 0.5]]]), 8)[0, 0]
    want = [
        function(2 * math.pi * x / period)
        for x in (0.25, 0.5)
        for period in (1, 100)
        for function in (math.sin, math.cos)
    ]
    torch.testing.assert_close(got, torch.tensor(want))
    shares = torch.tensor([0.0, 0.2, 0.5, 1.0])
    torch.testing.assert_close(inverse_sigmoid(shares)[1:3].sigmoid(), shares[1:3])
    assert inverse_sigmoid(shares).isfinite().all()


def test_padding_changes_nothing_where_queries_are_as_many_as_clips(batch):
    """Both are the only sequence of their layers then, of the same length, and only the clips are padded."""
    model = apply_strategy("read", build(queries=max(LENGTHS))).eval()
    with torch.no_grad():
        for parameter in model.adapters.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    together = run(model, batch)
    for sample, (clips, words) in enumerate(zip(LENGTHS, WORDS, strict=True)):
        stops = {"video": clips, "text": words}
        alone = run(model, {key: batch[key][sample : sample + 1, : stops[key.removesuffix("_mask")]] for key in INPUTS})
        torch.testing.assert_close(together["spans"][sample], alone["spans"][0], atol=1e-5, rtol=1e-5)


def test_bad_settings():
    with pytest.raises(InputError, match="multiple of 4"):
        build(hidden=18)
    with pytest.raises(InputError, match="audio_dim must be at least"):
        build(audio_dim=-1)
