"""UMT: published keys and numbers, targets against loops, padding, strategies, checkpoints."""

import json
import math
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from read.adapters import alignment_states, apply_strategy, get_strategy, strategy_names, trainable_parameters
from read.adapters.places import self_attentions
from read.alignment import Alignment
from read.backbones import build_backbone, load_backbone
from read.backbones.umt import UMT
from read.backbones.umt_layers import MultiheadAttention, Positions
from read.backbones.umt_losses import boundary_targets, centre_entropy, saliency_loss
from read.errors import InputError
from tests.backbones.reference import CHIRP, INPUTS, LENGTHS, WORDS, recipe, reference_batch, wave

SIZES = {"video_dim": 6, "text_dim": 5, "audio_dim": 4, "hidden": 16, "heads": 2, "feed_forward": 24, "positions": 9}
QUIET = {"dropout": 0.0, "input_dropout": 0.0, "text_dropout": 0.0}
VARIANTS = {
    "qvhighlights": {},
    "youtube": {"text_dim": 0, "layers": 1, "boundary": False, "saliency_weight": 1.0},
    "video_only": {"audio_dim": 0},
    "charades": {"saliency": False, "regression_weight": 0.5},
}
WINDOWS = (((0, 7), (1, 4), (1.5, 4.25)), ((0.5, 3.5),), ())  # in clips; the second and third share a centre's clip
EXPECTED = json.loads((Path(__file__).parent / "umt_reference.json").read_text())


def build(**settings) -> UMT:
    torch.manual_seed(0)
    return build_backbone("umt", **(SIZES | QUIET | settings))


def run(model: UMT, batch: dict[str, torch.Tensor]) -> dict:
    with torch.no_grad():
        return model(*(batch[name] for name in INPUTS), audio=batch.get("audio"))


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    batch = reference_batch()
    windows, mask = torch.zeros(3, 3, 2), torch.zeros(3, 3, dtype=torch.bool)
    for sample, (of_sample, clips) in enumerate(zip(WINDOWS, LENGTHS, strict=True)):
        for index, window in enumerate(of_sample):
            windows[sample, index], mask[sample, index] = torch.tensor(window) / clips, True
    audio = wave((3, max(LENGTHS), 4), 1.3) * batch["video_mask"][..., None]
    return batch | {"windows": windows, "windows_mask": mask, "audio": audio}


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


@pytest.mark.parametrize("settings", [*VARIANTS.values(), {"positions": 5}])
def test_padding_changes_nothing(batch, settings):
    model = build(**settings).eval()
    masks = {"video": "video_mask", "audio": "video_mask", "text": "text_mask"}
    noisy = batch | {name: torch.where(batch[mask][..., None], batch[name], 7.0) for name, mask in masks.items()}
    together = run(model, noisy)
    for index, (clips, words) in enumerate(zip(LENGTHS, WORDS, strict=True)):
        cut = {"video": clips, "video_mask": clips, "audio": clips, "text": words, "text_mask": words}
        alone = run(model, {name: batch[name][index : index + 1, :stop] for name, stop in cut.items()})
        for name in ("spans", "scores", "saliency"):
            torch.testing.assert_close(together[name][index, :clips], alone[name][0], atol=1e-5, rtol=1e-5)
        for name, states in alone["states"].items():
            torch.testing.assert_close(
                together["states"][name][index, : states.shape[1]], states[0], atol=1e-5, rtol=1e-5
            )


def wider(tensors: dict, clips: int = 3) -> dict:
    return {name: nn.functional.pad(value, (0, 0) * (value.dim() - 2) + (0, clips), value=1) for name, value in
            tensors.items()}  # fmt: skip


def test_losses_do_not_see_padding(batch):
    model = build()
    outputs = {name: value for name, value in run(model, batch).items() if name != "states"}
    targets = {name: batch[name] for name in ("saliency", "windows", "windows_mask", "video_mask")}
    more = targets | wider({"saliency": targets["saliency"]})
    more["video_mask"] = nn.functional.pad(targets["video_mask"], (0, 3))
    narrow = model.losses(outputs, targets)
    assert narrow.keys() == {"saliency", "centre", "window", "offset"}
    for name, value in model.losses(wider(outputs), more).items():
        torch.testing.assert_close(value, narrow[name])


def test_boundary_targets_against_a_loop():
    generator = torch.Generator().manual_seed(3)
    clips = torch.tensor([40, 25, 3])
    video_mask = torch.arange(40) < clips[:, None]
    windows = torch.rand(3, 5, 2, generator=generator).sort(dim=-1).values
    windows[0, 0] = torch.tensor([5, 20]) / 40  # whole clips: a centre at 12, a radius of 2.8
    windows[2, 0] = torch.tensor([0.1, 0.5]) / 3  # shorter than a clip
    windows_mask = torch.arange(5) < torch.tensor([[5], [2], [1]])
    got = boundary_targets(windows, windows_mask, video_mask)
    assert int(got.count) == 8
    for sample in range(3):
        heat, width, offset = [0.0] * 40, [None] * 40, [None] * 40
        for start, end in windows[sample, windows_mask[sample]].tolist():
            first, last = start * float(clips[sample]), end * float(clips[sample]) - 1
            length, centre = max(0.0, last - first), max(0.0, (first + last) / 2)
            clip, radius = int(centre + 1e-4), int(0.2 * length + 1e-4)
            for n in range(max(0, clip - radius), min(40, clip + radius + 1)):
                heat[n] = max(heat[n], math.exp(-((n - clip) ** 2) / (2 * (0.2 * (radius + 1)) ** 2)))
            width[clip], offset[clip] = length, centre - clip
        torch.testing.assert_close(got.centres[sample], torch.tensor(heat))
        assert got.peaks[sample].tolist() == [value is not None for value in width]
        for wanted, values in ((width, got.windows), (offset, got.offsets)):
            kept = torch.tensor([value for value in wanted if value is not None])
            torch.testing.assert_close(values[sample][got.peaks[sample]], kept, atol=1e-4, rtol=0)
    assert float(got.offsets[0, 12]) == pytest.approx(0, abs=1e-4) and float(got.centres[0, 12]) == 1


def test_whole_clips_keep_their_centre_whatever_the_rounding():
    for clips in range(1, 76):
        mask = torch.ones(1, clips, dtype=torch.bool)
        starts = torch.arange(0, clips)
        windows = torch.stack((starts, starts + 1), dim=-1)[None].float() * 2 / (clips * 2)  # each clip, by seconds
        got = boundary_targets(windows, torch.ones(1, clips, dtype=torch.bool), mask)
        assert got.peaks.all() and float(got.offsets.abs().max()) < 1e-4


def test_centre_entropy_by_hand_and_without_overflow():
    logits, heat = torch.tensor([0.3, -0.7, 1.1]), torch.tensor([1.0, 0.6, 0.0])
    score = logits.sigmoid()
    by_hand = torch.stack((
        -((1 - score[0]) ** 2) * score[0].log(),
        -(0.4**4) * score[1] ** 2 * (1 - score[1]).log(),
        -(score[2] ** 2) * (1 - score[2]).log(),
    ))  # fmt: skip
    torch.testing.assert_close(centre_entropy(logits, heat), by_hand)
    extreme = torch.tensor([-200.0, 200.0, 200.0], requires_grad=True)
    centre_entropy(extreme, heat).sum().backward()
    assert extreme.grad.isfinite().all() and float(extreme.grad[0]) == -1


def test_nothing_to_find_is_no_nan(batch):
    model = build()
    for windows in (batch["windows"], batch["windows"][:, :0]):
        nothing = torch.zeros_like(windows[..., 0], dtype=torch.bool)
        empty = batch | {"windows": windows, "windows_mask": nothing, "saliency": torch.zeros_like(batch["saliency"])}
        outputs = model(*(batch[name] for name in INPUTS))
        losses = model.losses(outputs, empty)
        assert losses["window"] == losses["offset"] == 0 and losses["centre"] > 0
        sum(losses.values()).backward()
        assert all(value.grad is None or value.grad.isfinite().all() for value in model.parameters())


def test_the_means_of_the_saliency_loss():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    logits = torch.zeros(2, 3)
    assert float(saliency_loss(logits, logits, mask, masked=True)) == pytest.approx(math.log(2))
    assert float(saliency_loss(logits, logits, mask, masked=False)) == pytest.approx(math.log(2) * 4 / 6)


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
    assert (only_saliency.windows, only_boundary.windows) == ("runs", "spans")
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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stops_before_the_losses(batch, dtype):
    model = build().eval()
    with torch.autocast("cpu", dtype):
        halved = run(model, batch)
    whole = run(model, batch)
    for name in ("spans", "scores", "saliency", "centre_logits", "saliency_logits", "window", "offset"):
        assert halved[name].dtype == torch.float32
        torch.testing.assert_close(halved[name], whole[name], atol=0.05, rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_trains(batch, dtype):
    model, gradients = build(), []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype, enabled=enabled):
            losses = model.losses(model(*(batch[name] for name in INPUTS), audio=batch["audio"]), batch)
        sum(losses.values()).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert gradients[1].isfinite().all()
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("positions", [9, 5])
def test_a_whole_model_in_half_precision(batch, dtype, positions):
    model = build(positions=positions).eval()
    expected = run(model, batch)
    halves = {name: value.to(dtype) if value.is_floating_point() else value for name, value in batch.items()}
    got = run(model.to(dtype), halves)
    for name in ("spans", "scores", "saliency"):
        torch.testing.assert_close(got[name], expected[name], atol=0.05, rtol=0.05)


def test_blocks_are_what_joins_the_residual(batch):
    model = build().eval()
    cross, decoder = "cross_enc.encoder.encoder.0", [f"query_dec.decoder.{index}" for index in range(3)]
    assert list(model.feed_forward_blocks()) == [
        "video_enc.encoder.ffn", "audio_enc.encoder.ffn", f"{cross}.ffn1", f"{cross}.ffn2",
        *(f"{layer}.ffn" for layer in decoder),
    ]  # fmt: skip
    assert list(model.attention_blocks()) == [
        "video_enc.encoder.att", "audio_enc.encoder.att", *(f"{cross}.att{index}" for index in range(1, 5)),
        *(f"{layer}.att{index}" for layer in decoder for index in (1, 2)),
    ]  # fmt: skip
    seen, entered = {}, {}
    for name, block in (model.feed_forward_blocks() | model.attention_blocks()).items():
        block.register_forward_hook(lambda module, args, output, name=name: seen.update({name: (args[0], output)}))
    layers = {name: model.get_submodule(name) for name in ("video_enc.encoder", decoder[-1])}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda module, args, output, name=name: entered.update({name: (args[0], output)}))
    run(model, batch)
    tokens, left = entered["video_enc.encoder"]
    between = tokens + seen["video_enc.encoder.att"][1][0]
    normed, added = seen["video_enc.encoder.ffn"]
    torch.testing.assert_close(normed, layers["video_enc.encoder"].norm2(between))
    torch.testing.assert_close(left, between + added)
    tokens, left = entered[decoder[-1]]
    between = tokens + seen[f"{decoder[-1]}.att1"][1][0] + seen[f"{decoder[-1]}.att2"][1][0]
    torch.testing.assert_close(left, between + seen[f"{decoder[-1]}.ffn"][1])


def test_segments_cover_what_each_block_gives(batch):
    model = build().eval()
    segments = model.segments(batch["video_mask"], batch["text_mask"])
    given = {}
    blocks = model.feed_forward_blocks() | model.attention_blocks()
    for name, block in blocks.items():
        block.register_forward_hook(lambda module, args, output, name=name: given.update({name: output}))
    run(model, batch)
    for name, output in given.items():
        (prefix,) = (prefix for prefix in segments if f"{name}.".startswith(f"{prefix}."))
        (segment,) = segments[prefix]
        tokens = output[0] if isinstance(output, tuple) else output
        assert segment.mask.shape == tokens.shape[:2] == (3, segment.stop - segment.start)
    modalities = {name: segments[name][0].modality for name in segments}
    assert {name.rpartition(".")[2]: modality for name, modality in modalities.items()} == {
        "video_enc": "video", "audio_enc": "audio", "query_dec": "video", "att1": "bottleneck", "att2": "bottleneck",
        "att3": "video", "ffn1": "video", "att4": "audio", "ffn2": "audio",
    }  # fmt: skip


def test_heads():
    names = [name for name, _ in build().named_parameters()]
    assert all(any(name.startswith(f"{head}.") for name in names) for head in build().heads())
    assert trainable_parameters(apply_strategy("proj", build())).total == 4 * (16 + 1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", strategy_names())
def test_strategies_start_as_the_backbone_and_train(batch, name, variant):
    settings = VARIANTS[variant]
    before = run(build(**settings).eval(), batch)
    model = apply_strategy(name, build(**settings).eval())
    after = run(model, batch)
    if name != "prompt":
        assert all(torch.equal(after[key], before[key]) for key in ("spans", "scores", "saliency"))
    values = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=0.1)
    model.train()
    for _ in range(2):  # in the first step only W_up of a bottleneck has a gradient
        optimizer.zero_grad()
        losses = model.losses(model(*(batch[key] for key in INPUTS), audio=batch["audio"]), batch)
        if get_strategy(name).alignment and "text" in before["states"]:
            losses["alignment"] = Alignment()(model)
        loss = sum(losses.values())
        assert loss.isfinite()
        loss.backward()
        optimizer.step()
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, values[key])}
    trained = set(trainable_parameters(model).names)
    assert moved <= trained and len(moved) > 0.5 * len(trained)


def test_alignment_takes_the_states_where_no_layer_holds_words(batch):
    model = apply_strategy("read_pvla", build())
    outputs = model(*(batch[name] for name in INPUTS), audio=batch["audio"])
    (states,) = alignment_states(model)
    assert states.video is outputs["states"]["video"] and states.text is outputs["states"]["text"]
    assert states.video_mask is batch["video_mask"] and states.text_mask is batch["text_mask"]
    assert states.text.shape == (3, max(WORDS), 16)
    silent = apply_strategy("read_pvla", build(text_dim=0))
    silent(*(batch[name] for name in INPUTS), audio=batch["audio"])
    with pytest.raises(InputError, match="no states to align"):
        alignment_states(silent)


@pytest.mark.parametrize("after", [("feed_forward",), ("attention", "feed_forward")])
@pytest.mark.parametrize("strategy", ["read", "st_adapter"])
def test_adapters_do_not_see_padding(batch, strategy, after):
    """With as many bottleneck tokens, of which none is padding, as clips."""
    model = apply_strategy(strategy, build(bottlenecks=max(LENGTHS)).eval(), after=after)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    together = run(model, batch)["spans"]
    for index, (clips, words) in enumerate(zip(LENGTHS, WORDS, strict=True)):
        cut = {"video": clips, "video_mask": clips, "audio": clips, "text": words, "text_mask": words}
        alone = run(model, {name: batch[name][index : index + 1, :stop] for name, stop in cut.items()})
        torch.testing.assert_close(together[index, :clips], alone["spans"][0], atol=1e-5, rtol=1e-5)


def test_every_attention_takes_prompts():
    found = self_attentions(build())
    assert set(found) == {*build().attention_blocks(), "query_gen.encoder"} and set(found.values()) == {16}


def test_a_tiny_batch_is_learnt_by_heart(batch):
    model = build()
    optimizer, history = torch.optim.Adam(model.parameters(), lr=3e-3), []
    for _ in range(150):
        optimizer.zero_grad()
        losses = model.losses(model(*(batch[name] for name in INPUTS), audio=batch["audio"]), batch)
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    assert all(history[-1][name] < 0.7 * history[0][name] for name in ("centre", "window", "offset"))
    outputs = run(model.eval(), batch)
    ranks = outputs["saliency"].argsort(dim=1, descending=True)[:, :3]
    assert ranks.tolist() == [[2, 3, 1]] * 3
    best = outputs["spans"][1, outputs["scores"][1].argmax()] * 4
    torch.testing.assert_close(best, torch.tensor([0.5, 3.5]), atol=0.3, rtol=0)


def test_save_and_load(batch, tmp_path):
    model = build().eval()
    model.save(tmp_path / "backbone")
    loaded = load_backbone(tmp_path / "backbone").eval()
    assert loaded.config == model.config and loaded.digest() == model.digest()
    assert torch.equal(run(loaded, batch)["spans"], run(model, batch)["spans"])


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
