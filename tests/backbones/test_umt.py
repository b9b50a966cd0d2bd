"""UMT: published sizes, keys, numbers and checkpoints; padding; what each modality and position does."""

import json
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from read.backbones import build_backbone
from read.backbones.grounding.umt import UMT
from read.backbones.umt_layers import MultiheadAttention, Positions
from read.errors import InputError
from read.grounding.inference import run as read_batch
from tests.backbones.narrow_umt import QUIET, VARIANTS, build, make_batch, run
from tests.backbones.reference import CHIRP, INPUTS, LENGTHS, WORDS, recipe

EXPECTED = json.loads((Path(__file__).parent / "umt_reference.json").read_text())
batch = pytest.fixture(make_batch)


@pytest.mark.parametrize(
    "total, settings",
    [
        (12_191_233, {"video_dim": 2048, "text_dim": 0, "layers": 1, "boundary": False}),  # YouTube Highlights, small
        (12_585_985, {"video_dim": 2048, "text_dim": 512, "layers": 1, "boundary": False}),  # TVSum, small
        (14_890_244, {"video_dim": 2816, "text_dim": 512}),  # QVHighlights, base
    ],
)
def test_sizes_are_the_published_ones(total, settings):
    with torch.device("meta"):
        assert sum(value.numel() for value in build_backbone("umt", audio_dim=2048, **settings).parameters()) == total


def test_keys_are_the_published_ones():
    def of(prefix, *names, parts=("weight", "bias")):
        return {f"{prefix}.{name}.{part}" for name in names for part in parts}

    attention = ("q", "k", "v", "m")
    keys = {"cross_enc.encoder.token"} | of("query_gen.mapping", "linear", parts=["weight"])
    keys |= {f"{name}.pe" for name in ("video_enc.pos_enc", "audio_enc.pos_enc", "cross_enc.pos_enc")}
    keys |= {f"query_dec.{name}_pos_enc.pe" for name in "qk"}
    for name in ("video_enc", "audio_enc"):
        keys |= of(name, "mapping.linear") | of(f"{name}.encoder", "norm1", "norm2", "ffn.mapping.0", "ffn.mapping.3")
        keys |= of(f"{name}.encoder.att", *attention)
    cross = "cross_enc.encoder.encoder.0"
    keys |= of("cross_enc", "norm") | of(cross, *(f"norm{index}" for index in range(1, 7)))
    keys |= {key for index in range(1, 5) for key in of(f"{cross}.att{index}", *attention)}
    keys |= {key for index in (1, 2) for key in of(f"{cross}.ffn{index}", "mapping.0", "mapping.3")}
    keys |= of("query_gen", "mapping.norm") | of("query_gen.encoder", *attention) | of("query_dec", "norm")
    for layer in ("query_dec.decoder.0", "query_dec.decoder.1"):
        keys |= of(layer, "norm1", "norm2", "norm3", "ffn.mapping.0", "ffn.mapping.3")
        keys |= of(f"{layer}.att1", *attention) | of(f"{layer}.att2", *attention)
    keys |= of("pred_head.0", "saliency_pred.linear")
    keys |= of("pred_head.1", "center_pred.linear", "window_pred.linear", "offset_pred.linear")
    assert set(build(layers=2).state_dict()) == keys


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_numbers_are_those_of_the_public_model(batch, variant, training):
    """The file holds what the public code gave on these weights and this padded batch, dropout off, clips of 2 s."""
    expected = EXPECTED[variant]
    model = build(**VARIANTS[variant], masked=False).train(training)
    model.load_state_dict(recipe(model.state_dict(), CHIRP))
    outputs = run(model, batch)
    for name, values in expected["outputs"].items():
        got = outputs[name][batch["video_mask"]].flatten()
        torch.testing.assert_close(got, torch.tensor(values), atol=1e-5, rtol=0)
    losses = model.losses(outputs, batch)
    assert losses.keys() == expected["losses"].keys()
    for name, value in losses.items():
        assert float(value) == pytest.approx(expected["losses"][name], abs=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_padded_batch_has_the_public_numbers_of_each_sample_alone(batch, variant):
    """The public code ran sample by sample, as it does when it predicts: there it has no padding to let in."""
    model = build(**VARIANTS[variant]).eval()
    model.load_state_dict(recipe(model.state_dict(), CHIRP))
    outputs = run(model, batch)
    for name, values in EXPECTED[variant]["alone"].items():
        got = outputs[name][batch["video_mask"]].flatten()
        torch.testing.assert_close(got, torch.tensor(values), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "offset, width, before, after", [(0.5, 2.0, 0.5, 1.5), (-0.5, 2.0, 1, 1), (0.5, -2.0, -0.5, 0.5)]
)
def test_spans_are_shares_from_first_to_last_clip(batch, offset, width, before, after):
    model = build().eval()
    with torch.no_grad():
        for parameter in model.pred_head.parameters():
            parameter.zero_()
        model.pred_head[1].offset_pred.linear.bias.fill_(offset)
        model.pred_head[1].window_pred.linear.bias.fill_(width)
    spans = run(model, batch)["spans"]
    for sample, clips in enumerate(LENGTHS):
        for n in range(clips):
            first, last = (min(max(0.0, end), clips - 1.0) for end in (n - before, n + after))
            assert spans[sample, n].tolist() == pytest.approx([first / clips, (last + 1) / clips])


def test_what_a_missing_head_is_made_up_for(batch):
    only_saliency, only_boundary = build(boundary=False).eval(), build(saliency=False).eval()
    assert (only_saliency.windows, only_boundary.windows) == ("ladder", "spans")
    assert (only_saliency.regresses, only_boundary.regresses) == (False, True)
    mask = batch["video_mask"]
    outputs = run(only_saliency, batch)
    assert torch.equal(outputs["scores"][mask], outputs["saliency"][mask])
    assert outputs["spans"][1, :4].tolist() == [[0, 0.25], [0.25, 0.5], [0.5, 0.75], [0.75, 1]]
    assert only_saliency.losses(outputs, batch).keys() == {"saliency"}
    outputs = run(only_boundary, batch)
    assert torch.equal(outputs["scores"][mask], outputs["saliency"][mask])
    assert only_boundary.losses(outputs, batch).keys() == {"centre", "window", "offset"}
    assert bool((outputs["saliency"][~mask] < -100).all()) and not outputs["scores"][~mask].any()
    with pytest.raises(InputError, match="saliency and boundary are both off"):
        build(saliency=False, boundary=False)


def test_a_video_without_sound_is_silence(batch):
    model = build().eval()
    silent = {name: batch[name] for name in INPUTS}
    expected = run(model, silent | {"audio": torch.zeros(3, 7, 4)})
    got = run(model, silent)
    assert all(torch.equal(got[name], expected[name]) and got[name].isfinite().all() for name in ("spans", "scores"))
    assert not torch.equal(got["scores"], run(model, batch)["scores"])
    alone = run(model, {name: silent[name][1:2, : (WORDS if "text" in name else LENGTHS)[1]] for name in INPUTS})
    torch.testing.assert_close(got["spans"][1, :4], alone["spans"][0], atol=1e-5, rtol=1e-5)


def test_without_text_the_words_do_not_matter(batch):
    model = build(text_dim=0).eval()
    outputs = run(model, batch)
    assert torch.equal(outputs["scores"], run(model, batch | {"text": batch["text"] + 1})["scores"])
    assert outputs["states"].keys() == {"video"}


def test_positions_of_a_long_video_are_stretched():
    positions = Positions(2, 3, dropout=0.0)
    positions.pe.data = torch.tensor([[[0.0, 5.0], [10.0, 5.0], [20.0, 5.0]]])
    got = positions(torch.arange(6) < torch.tensor([[5], [2], [6], [1]]))
    assert got[0, :5, 0].tolist() == [0, 5, 10, 15, 20]
    assert got[1, :2, 0].tolist() == [0, 10]
    assert got[2, :, 0].tolist() == pytest.approx([0, 4, 8, 12, 16, 20])
    assert got[3, 0, 0] == 0 and bool((got[..., 1] == 5).all())
    assert torch.equal(positions(torch.ones(2, 2, dtype=torch.bool)), positions.pe[:, :2].expand(2, -1, -1))


def test_attention_is_torchs():
    torch.manual_seed(0)
    ours, theirs = MultiheadAttention(16, 4, 0.0), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in (ours.q, ours.k, ours.v)]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in (ours.q, ours.k, ours.v)]))
    theirs.out_proj.load_state_dict(ours.m.state_dict())
    query, key, value = torch.randn(2, 3, 16), torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    padding = torch.arange(5) >= torch.tensor([[5], [2]])
    pairs = torch.zeros(3, 5, dtype=torch.bool)
    pairs[0, 0] = True
    for masks in ({}, {"key_padding_mask": padding}, {"attn_mask": pairs},
                  {"key_padding_mask": padding, "attn_mask": pairs}):  # fmt: skip
        torch.testing.assert_close(ours(query, key, value, **masks)[0], theirs(query, key, value, **masks)[0])


def test_dropout_is_where_it_was_published():
    model = build(dropout=0.1, input_dropout=0.5, text_dropout=0.3)
    rates = {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    rates |= {name: module.dropout for name, module in model.named_modules() if isinstance(module, MultiheadAttention)}
    inputs = {"video_enc.dropout": 0.5, "audio_enc.dropout": 0.5, "query_gen.dropout": 0.3}
    assert inputs.items() <= rates.items()
    assert {rate for name, rate in rates.items() if name not in inputs} == {0.1}
    assert {"video_enc.pos_enc.dropout", "query_dec.decoder.2.att2", "audio_enc.encoder.ffn.mapping.2"} <= rates.keys()
    attention, tokens = MultiheadAttention(64, 2, 0.25), torch.randn(2, 9, 64)
    assert float((attention(tokens, tokens, tokens)[0] == 0).float().mean()) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("variant", VARIANTS)
def test_published_checkpoint_loads(tmp_path, variant):
    """In the form of the public trainer: `state_dict`, `meta` and `optimizer`."""
    model = build(**VARIANTS[variant], **({"bottlenecks": 3} if variant == "qvhighlights" else {}))
    meta = {"epoch": 2, "iter": 20, "stages": [{"epochs": 100, "optimizer": {"type": "Adam", "lr": 1e-3}}]}
    optimizer = torch.optim.Adam(model.parameters()).state_dict()
    content = {"meta": meta, "state_dict": OrderedDict(model.state_dict()), "optimizer": optimizer}
    torch.save(content, tmp_path / "epoch_100.pth")
    loaded = UMT.load_published(tmp_path / "epoch_100.pth", heads=2, **QUIET)
    assert loaded.digest() == model.digest() and loaded.config == model.config


@pytest.mark.parametrize("name", ["umt", "qd_detr"])
def test_a_published_model_reads_what_was_heard_apart(tmp_path, batch, name):
    """Whatever the order in which features are joined, and as silence where nothing was heard."""
    sizes = {"hidden": 16, "heads": 2, "feed_forward": 24} | ({"tef": False} if name == "qd_detr" else {"positions": 9})
    torch.manual_seed(0)
    model = build_backbone(name, video_dim=6, text_dim=5, audio_dim=4, **sizes).eval()
    content = {"state_dict": model.state_dict(), "meta": {}}
    if name == "qd_detr":
        options = Namespace(nheads=2, ctx_mode="video", a_feat_dir="features", a_feat_dim=4)
        content = {"model": model.state_dict(), "opt": options}
    torch.save(content, tmp_path / "x.pth")
    video, audio = batch["video"], batch["audio"]
    joined = torch.cat((video[..., :2], audio, video[..., 2:]), dim=-1)
    inputs = {key: batch[key] for key in INPUTS}
    loaded = type(model).load_published(tmp_path / "x.pth", heads=2, sound_start=2, sound_dim=4).eval()
    assert loaded.config.video_dim == 10
    with torch.no_grad():
        wanted, silent = model(**inputs, audio=audio), model(**inputs)
        found = read_batch(loaded, inputs | {"video": joined})
        deaf = read_batch(type(model).load_published(tmp_path / "x.pth", heads=2).eval(), inputs)
    for output in ("spans", "scores"):
        assert torch.equal(found[output], wanted[output]) and torch.equal(deaf[output], silent[output])
    assert not torch.equal(wanted["scores"], silent["scores"])
    with pytest.raises(InputError, match="listens to 4 numbers a clip, but features of sound have 3"):
        type(model).load_published(tmp_path / "x.pth", heads=2, sound_start=2, sound_dim=3)


def test_other_checkpoints_are_refused(tmp_path):
    state = build().state_dict()
    del state["query_dec.norm.weight"]
    torch.save({"state_dict": state | {"query_embed.weight": torch.zeros(1)}, "meta": {}}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"missing keys: query_dec\.norm\.weight; unexpected keys: query_embed"):
        UMT.load_published(tmp_path / "x.pth", heads=2)
    torch.save({"state_dict": {}}, tmp_path / "y.pth")
    with pytest.raises(InputError, match=r"not the weights of umt; missing keys: video_enc\.mapping"):
        UMT.load_published(tmp_path / "y.pth")


def test_bad_settings():
    for field, value in (("layers", 0), ("text_dropout", 1.0), ("video_dim", 0), ("positions", 0)):
        with pytest.raises(InputError, match=field):
            build(**{field: value})
