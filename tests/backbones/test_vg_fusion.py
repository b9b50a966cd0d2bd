"""How words attend to a video: the softmax, padding, the order of steps, long videos."""

import pytest
import torch
from torch import nn

from read.backbones.vg_fusion import Fusion, VisualGuidanceConfig, evenly_spaced
from tests.backbones.guided import BLIND, KINDS, STEPS, alone, logits, make, make_batch, without


def fuse_by_hand(fusion, words, video):
    """One sample, word by word and head by head, over real steps only."""
    heads, width = fusion.heads, words.shape[1] // fusion.heads
    words = nn.functional.layer_norm(words, words.shape[1:], fusion.norm.weight, fusion.norm.bias)
    added, weights = [], torch.zeros(len(words), len(video))
    for m, word in enumerate(words):
        image = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            likeness = [fusion.query(word)[part] @ fusion.key(step)[part] / width**0.5 for step in video]
            share = torch.tensor(likeness).exp() / torch.tensor(likeness).exp().sum()
            weights[m] += share / heads
            image.append(sum(a * fusion.value(step)[part] for a, step in zip(share, video, strict=True)))
        image = torch.cat(image)
        if fusion.gate is not None:
            image = torch.sigmoid(fusion.gate(torch.cat((image, word)))) * image
        added.append(fusion.out(image))
    return torch.stack(added), weights


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("fusion", ["dot", "multihead"])
def test_fusion_is_a_softmax_over_real_steps(fusion, gate):
    torch.manual_seed(0)
    module = Fusion(8, VisualGuidanceConfig(video_dim=6, heads=2, fusion=fusion, gate=gate)).eval()
    nn.init.normal_(module.out.weight)
    words, video, mask = torch.randn(3, 5, 8), torch.randn(3, 6, 8), make_batch()["video_mask"]
    with torch.no_grad():
        added, weights = module(words, video, mask)
        for i, steps in enumerate(STEPS):
            by_hand = fuse_by_hand(module, words[i], video[i, :steps])
            torch.testing.assert_close(added[i], by_hand[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(weights[i, :, :steps], by_hand[1], atol=1e-6, rtol=1e-5)
    assert not weights.masked_select(~mask[:, None]).any()
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 5))  # per word, over the video
    assert not torch.allclose(weights.sum(1)[0], torch.ones(6), atol=0.05)  # and not per step, over the words


@pytest.mark.parametrize("kind", KINDS)
def test_attention_can_be_asked_for(kind):
    batch, model = make_batch(), make(kind, visual_layers=1)
    output = model(**batch, visual_attention=True)
    weights = output["visual_attention"]
    assert weights.shape == (3, 9, 6) and not weights.masked_select(~batch["video_mask"][:, None]).any()
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 9))
    mixed = batch["video_mask"].clone()
    mixed[1] = False
    assert not model(**batch | {"video_mask": mixed}, visual_attention=True)["visual_attention"][1].any()
    assert "visual_attention" not in model(**batch)
    assert "visual_attention" not in model(**batch | BLIND["no video"], visual_attention=True)


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("fusion", ["dot", "multihead"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_never_changes_a_result(kind, fusion, layers):
    batch, model = make_batch(), make(kind, fusion=fusion, visual_layers=layers)
    together = logits(model, batch)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], logits(model, alone(batch, i)), atol=1e-4, rtol=1e-4)
    junk = batch["video"].masked_fill(~batch["video_mask"][..., None], float("nan"))
    assert torch.equal(logits(model, batch | {"video": junk}), together)
    mixed = batch["video_mask"].clone()
    mixed[1] = False
    seen = logits(model, batch | {"video_mask": mixed})
    plain = logits(model.seq2seq, without(batch, "video", "video_mask"))
    assert torch.equal(seen[1], plain[1]) and torch.equal(seen[0], together[0])


@pytest.mark.parametrize("layers", [0, 1])
def test_steps_have_an_order_in_visual_layers_only(layers):
    batch, model = make_batch(), make(visual_layers=layers)
    batch["video_mask"] = torch.ones_like(batch["video_mask"])
    one, other = logits(model, batch), logits(model, batch | {"video": batch["video"].flip(1)})
    assert torch.allclose(one, other, atol=1e-4) == (layers == 0)


@pytest.mark.parametrize("layer", [0, 1, -1, -2])
def test_words_see_the_video_after_the_layer_that_is_asked_for(layer):
    batch, model, seen = make_batch(), make(layer=layer), []
    for block in model.seq2seq.get_encoder().layers:
        block.register_forward_hook(lambda module, args, output: seen.append(output))
    for given in (batch, without(batch, "video", "video_mask")):
        logits(model, given)
    assert [torch.equal(one, other) for one, other in zip(seen[:2], seen[2:], strict=True)] == [layer in (1, -1), False]


@pytest.mark.parametrize("most", [1, 3, 4])
def test_evenly_spaced_steps(most):
    mask = torch.tensor([[1] * 9, [0, 1] * 4 + [0], [1, 0, 0, 1, 0, 0, 0, 0, 1], [0] * 9]).bool()
    steps, kept = evenly_spaced(mask, most)
    for row in range(4):
        real = mask[row].nonzero().flatten().tolist()
        size = len(real) / most  # of each part, whose middle is read
        expected = real if len(real) <= most else [real[int(size * (part + 0.5))] for part in range(most)]
        assert steps[row][kept[row]].tolist() == expected
        assert len(set(steps[row].tolist())) == most
    assert {1: [4], 3: [1, 4, 7], 4: [1, 3, 5, 7]}[most] == steps[0].tolist()


def test_a_long_video_is_read_in_evenly_spaced_steps():
    batch, model = make_batch(), make(visual_layers=1, max_steps=2)
    output = model(**batch, visual_attention=True)
    middle = torch.tensor([[1, 4], [1, 3], [0, 1]])  # of 6, 4 and 1 real steps
    given = {"video": batch["video"].gather(1, middle[..., None].expand(-1, -1, 6)),
             "video_mask": torch.tensor([[True, True], [True, True], [True, False]])}  # fmt: skip
    short = model(**batch | given, visual_attention=True)
    assert torch.equal(output.logits, short.logits)
    assert output["states"]["video"].shape == (3, 2, 16)
    assert torch.equal(output["masks"]["video"], given["video_mask"])
    weights = output["visual_attention"]
    assert weights.shape == (3, 9, 6)
    assert torch.equal(weights.gather(2, middle[:, None].expand(-1, 9, -1)), short["visual_attention"])
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 9))
