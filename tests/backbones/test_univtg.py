"""UniVTG: published keys, published numbers, losses against loops, padding, checkpoints."""

import argparse
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from read.backbones import backbone_names, build_backbone
from read.backbones.dense_losses import generalized_iou, listwise_loss, saliency_losses, window_losses
from read.backbones.grounding.univtg import DropPath, UniVTG, WeightedPool
from read.errors import InputError
from tests.backbones.narrow import run
from tests.backbones.reference import LENGTHS, QUIET, SIZES, recipe, reference_batch


@pytest.fixture
def model() -> UniVTG:
    torch.manual_seed(0)
    return build_backbone("univtg", **SIZES, **QUIET)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return reference_batch()


def test_keys_are_the_published_ones(model):
    layer = [f"self_attn.{name}" for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")]
    layer += [f"{part}.{kind}" for part in ("linear1", "linear2", "norm1", "norm2") for kind in ("weight", "bias")]
    keys = [f"transformer.encoder.layers.{index}.{name}" for index in range(2) for name in layer]
    heads = ("span_embed", "class_embed")
    keys += [f"{head}.layers.{index}.{kind}" for head in heads for index in range(3) for kind in ("weight", "bias")]
    keys += [
        f"{projection}.{index}.{part}.{kind}"
        for projection in ("input_vid_proj", "input_txt_proj")
        for index in range(2)
        for part in ("LayerNorm", "net.1")
        for kind in ("weight", "bias")
    ]
    assert set(model.state_dict()) == {*keys, "token_type_embeddings.weight", "weightedpool.weight"}


@pytest.mark.parametrize("training", [True, False])
def test_numbers_are_those_of_the_public_model(batch, training):
    """The file holds what the public code gave on these weights and this padded batch, dropout off, windows of 2 s."""
    expected = json.loads((Path(__file__).parent / "univtg_reference.json").read_text())
    model = build_backbone("univtg", **SIZES, **QUIET, anchor=1.0, masked_heads=False).train(training)
    model.load_state_dict(recipe(model.state_dict()))
    outputs = run(model, batch)
    for name in ("scores", "spans", "saliency"):
        got = outputs[name][batch["video_mask"]].flatten()
        torch.testing.assert_close(got, torch.tensor(expected[name]), atol=1e-5, rtol=0)
    losses = model.losses(outputs, batch)
    assert losses.keys() == expected["losses"].keys()
    for name, value in losses.items():
        assert float(value) == pytest.approx(expected["losses"][name], abs=1e-5)


def test_losses_of_a_batch_do_not_see_padding(model, batch):
    outputs = {name: value for name, value in run(model, batch).items() if name != "states"}
    wider = {name: nn.functional.pad(value, (0, 0) * (value.dim() - 2) + (0, 3)) if value.shape[:2] == (3, 7) else value
             for name, value in outputs.items()}  # fmt: skip
    targets = {name: nn.functional.pad(batch[name], (0, 0) * (batch[name].dim() - 2) + (0, 3))
               for name in ("foreground", "spans", "saliency", "video_mask")}  # fmt: skip
    narrow = model.losses(outputs, batch)
    for name, value in model.losses(wider, targets | {"positive": batch["positive"]}).items():
        torch.testing.assert_close(value, narrow[name])


def test_the_pooled_sentence_has_nothing_of_padded_words():
    pool = WeightedPool(4)
    words, mask = torch.randn(2, 5, 4), torch.arange(5) < torch.tensor([[2], [5]])
    alone = pool(words[:1, :2], mask[:1, :2])
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float16, 1e-2)):
        got = pool.to(dtype)(words.to(dtype), mask)
        torch.testing.assert_close(got[:1].float(), alone, atol=tolerance, rtol=tolerance)


def test_window_losses_against_a_loop(model, batch):
    outputs = run(model, batch)
    distance = overlap = entropy = 0.0
    clips = 0
    for sample, length in enumerate(LENGTHS):
        for clip in range(length):
            clips += 1
            score = float(outputs["scores"][sample, clip])
            if not batch["foreground"][sample, clip]:
                entropy -= 0.1 * math.log(1 - score)
                continue
            entropy -= math.log(score)
            (start, end), (low, high) = outputs["spans"][sample, clip].tolist(), batch["spans"][sample, clip].tolist()
            for error in (abs(start - low), abs(end - high)):
                distance += 0.5 * error**2 if error < 1 else error - 0.5
            inside = max(0.0, min(end, high) - max(start, low))
            union = (end - start) + (high - low) - inside
            hull = max(end, high) - min(start, low)
            overlap += 1 - (inside / union - (hull - union) / hull)
    got = window_losses(outputs, batch)
    assert float(got["span"]) == pytest.approx(distance / 9, abs=1e-5)
    assert float(got["giou"]) == pytest.approx(overlap / 9, abs=1e-5)
    assert float(got["foreground"]) == pytest.approx(entropy / clips, abs=1e-5)


def test_saliency_losses_against_a_loop(model, batch):
    outputs = run(model, batch)
    positive, temperature = batch["positive"].tolist(), 0.07

    def cosine(sample, clip, other):
        one, two = outputs["clips"][sample, clip], outputs["sentence"][other]
        return float(one @ two / (one.norm() * two.norm())) / temperature

    def allowed(sample, clip):
        least = batch["saliency"][sample, positive[sample]]
        real = clip < LENGTHS[sample]
        return real and (clip == positive[sample] or batch["saliency"][sample, clip] < least)

    def surprise(right, all_of_them):
        return math.log(sum(math.exp(value) for value in all_of_them)) - right

    within = across = 0.0
    for sample in range(3):
        clip, rows = positive[sample], range(3)
        right = cosine(sample, clip, sample)
        within += surprise(right, [cosine(sample, n, sample) for n in range(7) if allowed(sample, n)])
        within += surprise(right, [cosine(row, clip, row) for row in rows if allowed(row, clip)])
        across += surprise(right, [cosine(sample, clip, row) for row in rows])
        across += surprise(right, [cosine(row, positive[row], sample) for row in rows])
    got = saliency_losses(outputs, batch, training=True)
    assert float(got["saliency_intra"]) == pytest.approx(within / 3, rel=1e-4)
    assert float(got["saliency_inter"]) == pytest.approx(across / 3, rel=1e-4)


def test_a_sample_without_a_salient_clip_takes_no_part(model, batch):
    outputs = run(model, batch)
    first_two = {name: outputs[name][:2] for name in ("cosine", "clips", "sentence")}
    silent = batch | {"saliency": batch["saliency"] * torch.tensor([1.0, 1.0, 0.0])[:, None]}
    got = saliency_losses(outputs, silent, training=False)
    want = saliency_losses(first_two, {name: value[:2] for name, value in batch.items()}, training=False)
    torch.testing.assert_close(got, want)


def test_listwise_loss_against_a_loop(model, batch):
    """The share of the softmax that the foreground has; a sample without any takes no part, nor does padding."""
    foreground = batch["foreground"] * torch.tensor([1.0, 1.0, 0.0])[:, None]
    outputs, surprise = run(model, batch), []
    for sample in (0, 1):
        masses = [math.exp(value) for value in outputs["logits"][sample, : LENGTHS[sample]].tolist()]
        right = sum(mass for clip, mass in enumerate(masses) if foreground[sample, clip])
        surprise.append(-math.log(right / sum(masses)))
    targets = batch | {"foreground": foreground}
    assert float(listwise_loss(outputs, targets)) == pytest.approx(sum(surprise) / 2, rel=1e-4)
    assert float(listwise_loss(outputs, batch | {"foreground": 0 * foreground})) == 0
    shifted = outputs | {"logits": outputs["logits"] + torch.tensor([[3.0], [-2.0], [0.0]])}
    torch.testing.assert_close(listwise_loss(shifted, targets), listwise_loss(outputs, targets))


def test_the_listwise_term_is_beside_the_published_ones(batch):
    terms = {}
    for weight in (0.0, 2.0):
        torch.manual_seed(0)
        model = build_backbone("univtg", **SIZES, **QUIET, listwise=weight)
        outputs = run(model, batch)
        terms[weight] = model.losses(outputs, batch)
    assert float(terms[2.0].pop("listwise")) == pytest.approx(2 * float(listwise_loss(outputs, batch)))
    torch.testing.assert_close(terms[0.0], terms[2.0])
    with pytest.raises(InputError, match=r"listwise -1\.0 must be at least 0"):
        build_backbone("univtg", **SIZES, listwise=-1.0)


def test_generalized_iou_by_hand():
    one = torch.tensor([[0.0, 0.2], [0.5, 1.0], [0.0, 1.0]])
    other = torch.tensor([[0.4, 0.6], [0.0, 1.0], [0.0, 1.0]])
    torch.testing.assert_close(generalized_iou(one, other), torch.tensor([-1 / 3, 0.5, 1.0]))


def test_blocks_are_what_joins_the_residual(model, batch):
    model.eval()
    assert list(model.feed_forward_blocks()) == [f"transformer.encoder.layers.{i}.feed_forward" for i in range(2)]
    seen = {}
    for name, block in (model.feed_forward_blocks() | model.attention_blocks()).items():
        assert model.get_submodule(name) is block
        block.register_forward_hook(lambda module, args, output, name=name: seen.update({name: (args[0], output)}))
    states = run(model, batch)["states"]
    layer = model.transformer.encoder.layers[1]
    tokens, attended = seen["transformer.encoder.layers.1.attention"]
    between = layer.norm1(tokens + attended)
    entered, added = seen["transformer.encoder.layers.1.feed_forward"]
    torch.testing.assert_close(entered, between)
    torch.testing.assert_close(layer.norm2(between + added), torch.cat((states["video"], states["text"]), dim=1))


def test_a_replaced_linear_takes_effect(model, batch):
    model.eval()
    before = run(model, batch)["scores"]
    layer = model.transformer.encoder.layers[0]
    layer.linear2 = nn.Sequential(layer.linear2, nn.Hardtanh(-0.1, 0.1))
    assert not torch.equal(run(model, batch)["scores"], before)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    branch = torch.ones(4000, 2, 3)
    dropped = DropPath(0.25)(branch)
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 4 / 3]))
    assert torch.equal(dropped, dropped[:, :1, :1].expand_as(dropped))
    assert float(dropped.mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(branch), branch)


def published(model: UniVTG, **content) -> dict:
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    state["module.txt_position_embed.LayerNorm.bias"] = torch.zeros(16)  # in the public files, unused by them
    options = argparse.Namespace(nheads=2, ctx_mode="video_tef", clip_length=2)
    return {"model": state, "opt": options, "epoch": 3} | content


def test_published_checkpoint_loads(model, batch, tmp_path):
    path = tmp_path / "model_best.ckpt"
    torch.save(published(model), path)
    loaded = UniVTG.load_published(path)
    assert loaded.digest() == model.digest()
    assert (loaded.config.heads, loaded.config.layers, loaded.config.video_dim, loaded.config.anchor) == (2, 2, 6, 1.0)


def test_published_checkpoint_with_other_keys_lists_them(model, tmp_path):
    content = published(model)
    del content["model"]["module.weightedpool.weight"]
    content["model"]["module.query_embed.weight"] = torch.zeros(10, 16)
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=r"missing keys: weightedpool\.weight; unexpected keys: query_embed\.weight"):
        UniVTG.load_published(tmp_path / "x.ckpt")


class Intruder:
    def __reduce__(self):
        return print, ("this must never run",)


@pytest.mark.parametrize(
    "content, reason",
    [
        ({"model": {}, "opt": Intruder()}, "without running code"),
        ({"state": {}}, "published"),
        ({"model": {}}, "missing keys"),
    ],
)
def test_other_files_are_refused(content, reason, tmp_path, capsys):
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=reason):
        UniVTG.load_published(tmp_path / "x.ckpt")
    assert "never" not in capsys.readouterr().out


def test_text_and_absent_files_are_refused(tmp_path):
    (tmp_path / "x.ckpt").write_text("not a checkpoint")
    with pytest.raises(InputError, match=r"x\.ckpt"):
        UniVTG.load_published(tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="no such file"):
        UniVTG.load_published(tmp_path / "y.ckpt")


def test_bad_settings():
    assert "univtg" in backbone_names()
    with pytest.raises(InputError, match="no backbone 'vtg'; did you mean univtg"):
        build_backbone("vtg")
    with pytest.raises(InputError, match="no setting depth"):
        build_backbone("univtg", **SIZES, depth=3)
    for wrong, field in (({"heads": 3}, "hidden"), ({"layers": 0}, "layers"), ({"drop_path": 1.0}, "drop_path")):
        with pytest.raises(InputError, match=field):
            build_backbone("univtg", **(SIZES | wrong))
