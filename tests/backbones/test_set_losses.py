"""Losses of a set of moments: matching against all permutations, terms against loops, samples that lack something."""

import itertools
import math

import pytest
import torch

from read.backbones.set_losses import (
    margin_loss,
    match,
    moment_losses,
    negative_pair_loss,
    rank_loss,
    saliency_pairs,
    set_outputs,
)
from tests.backbones.reference import LENGTHS, PAIRS, reference_batch

LAYERS, SAMPLES, QUERIES = 2, 3, 4


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return reference_batch() | PAIRS


@pytest.fixture
def outputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits, regressed = torch.randn(2, LAYERS, SAMPLES, QUERIES, 2, generator=generator)
    return set_outputs(logits, regressed)


def overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    inside = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = one[1] - one[0] + other[1] - other[0] - inside
    hull = max(one[1], other[1]) - min(one[0], other[0])
    return inside / union - (hull - union) / hull


def distance(moment: tuple[float, float], window: tuple[float, float]) -> float:
    centre, width = moment
    return abs(centre - sum(window) / 2) + abs(width - (window[1] - window[0]))


def ends(moment: tuple[float, float]) -> tuple[float, float]:
    return moment[0] - moment[1] / 2, moment[0] + moment[1] / 2


def by_hand(outputs, batch, layer):
    """The cheapest of all injections of windows into queries, and the three terms, in plain Python."""
    spans = giou = label = 0.0
    pairs = []
    for sample in range(SAMPLES):
        moments = [tuple(moment) for moment in outputs["centre_width"][sample, layer].tolist()]
        chances = outputs["logits"][sample, layer].softmax(-1).tolist()
        windows = [tuple(window) for window in batch["windows"][sample][batch["windows_mask"][sample]].tolist()]

        def cost(queries, windows=windows, moments=moments, chances=chances):
            return sum(
                10 * distance(moments[k], window) - overlap(ends(moments[k]), window) - 4 * chances[k][0]
                for k, window in zip(queries, windows, strict=True)
            )

        best = min(itertools.permutations(range(QUERIES), len(windows)), key=cost)
        for index, query in enumerate(best):
            pairs.append((sample, query, index))
            spans += distance(moments[query], windows[index])
            giou += 1 - overlap(ends(moments[query]), windows[index])
        for query in range(QUERIES):
            label -= math.log(chances[query][0]) if query in best else 0.1 * math.log(chances[query][1])
    count = len(pairs)
    return pairs, 10 * spans / (2 * count), giou / count, 4 * label / (SAMPLES * QUERIES)


@pytest.mark.parametrize("layer, suffix", [(0, "_0"), (1, "")])
def test_matching_and_losses_against_all_permutations(outputs, batch, layer, suffix):
    pairs, span, giou, label = by_hand(outputs, batch, layer)
    found = match(outputs["logits"], outputs["centre_width"], batch["windows"], batch["windows_mask"])
    assert sorted(map(tuple, found[layer].T.tolist())) == sorted(pairs)
    losses = moment_losses(outputs, batch)
    assert float(losses[f"span{suffix}"]) == pytest.approx(span, rel=1e-5)
    assert float(losses[f"giou{suffix}"]) == pytest.approx(giou, rel=1e-5)
    assert float(losses[f"label{suffix}"]) == pytest.approx(label, rel=1e-5)


def test_outputs_are_those_of_the_last_layer(outputs):
    centre, width = outputs["centre_width"][:, -1].unbind(-1)
    torch.testing.assert_close(outputs["spans"], torch.stack((centre - width / 2, centre + width / 2), -1))
    torch.testing.assert_close(outputs["scores"], outputs["logits"][:, -1].softmax(-1)[..., 0])


def test_padded_windows_are_not_seen(outputs, batch):
    noisy = batch | {"windows": batch["windows"].masked_fill(~batch["windows_mask"][..., None], torch.nan)}
    shuffled = {name: batch[name].flip(1) for name in ("windows", "windows_mask")}
    for other in (noisy, batch | shuffled):
        torch.testing.assert_close(moment_losses(outputs, other), moment_losses(outputs, batch))


def test_more_windows_than_queries(outputs, batch):
    windows = torch.rand(SAMPLES, 9, 2, generator=torch.Generator().manual_seed(1)).sort(-1).values
    mask = torch.arange(9) < torch.tensor([[9], [1], [4]])
    pairs = match(outputs["logits"], outputs["centre_width"], windows, mask)
    for layer in pairs:
        for sample, matched in enumerate((QUERIES, 1, QUERIES)):
            chosen = layer[:, layer[0] == sample]
            assert len(chosen[1].unique()) == len(chosen[2].unique()) == matched
            assert mask[sample, chosen[2]].all()
    assert all(map(torch.isfinite, moment_losses(outputs, {"windows": windows, "windows_mask": mask}).values()))


@pytest.mark.parametrize("width", [0, 2])
def test_without_windows_all_queries_are_background(outputs, batch, width):
    none = {"windows": torch.zeros(SAMPLES, width, 2), "windows_mask": torch.zeros(SAMPLES, width, dtype=torch.bool)}
    losses = moment_losses(outputs, none)
    assert losses["span"] == losses["giou"] == 0
    background = outputs["logits"][:, -1].log_softmax(-1)[..., 1]
    torch.testing.assert_close(losses["label"], -4 * 0.1 * background.mean())


def test_outputs_that_are_not_finite_show_in_the_losses(outputs, batch):
    broken = outputs | {"centre_width": outputs["centre_width"] * torch.nan}
    assert moment_losses(broken, batch)["span"].isnan()


def test_pairs_of_clips(batch):
    batch = {name: batch[name] for name in ("saliency", "relevant", "video_mask")}
    positive, negative = saliency_pairs(batch, training=False)
    assert positive.tolist() == [[2, 1], [2, 1], [2, 1]] and negative.tolist() == [[1, 0], [1, 0], [1, 0]]
    torch.manual_seed(0)
    seen = [[], []]
    for _ in range(60):
        pairs = saliency_pairs(batch, training=True)
        for found, clips in zip(seen, pairs, strict=True):
            found.append(clips[:, 1])
            assert torch.equal(clips[:, 0], torch.tensor([2, 2, 2]) if clips is pairs[0] else torch.tensor([1, 1, 1]))
    for sample, length in enumerate(LENGTHS):
        assert {int(clips[sample]) for clips in seen[0]} == {1, 2, 3}
        assert {int(clips[sample]) for clips in seen[1]} == {0, *range(4, length)}


def test_margin_loss_by_hand(batch):
    saliency = torch.randn(SAMPLES, 7, generator=torch.Generator().manual_seed(0))
    want = sum(
        max(0.0, 0.2 + float(saliency[sample, low]) - float(saliency[sample, high]))
        for sample in range(SAMPLES)
        for high, low in zip(PAIRS["positive"][sample], PAIRS["negative"][sample], strict=True)
    )
    assert float(margin_loss(saliency, batch, training=True)) == pytest.approx(want / (SAMPLES * 2) * 2, rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_sample_without_relevant_clips_takes_no_part(training):
    batch = reference_batch()
    saliency = torch.zeros(SAMPLES, 7, requires_grad=True)
    batch["relevant"][1] = batch["saliency"][1] = 0
    got = margin_loss(saliency, batch, training)
    got.backward()
    assert got.item() == pytest.approx(2 * 0.2)
    assert not saliency.grad[1].any() and saliency.grad[0].any()
    nothing = margin_loss(saliency, batch | {"relevant": torch.zeros_like(batch["relevant"])}, training)
    assert nothing == 0


@pytest.mark.parametrize("training", [True, False])
def test_without_irrelevant_clips_the_hard_pair_counts_twice(training):
    batch = reference_batch()
    batch["relevant"] = batch["video_mask"]
    positive, negative = saliency_pairs(batch, training)
    assert torch.equal(positive[:, 0], positive[:, 1]) and torch.equal(negative[:, 0], negative[:, 1])


@pytest.mark.parametrize("alone", [True, False])
def test_rank_loss_against_a_loop(batch, alone):
    generator = torch.Generator().manual_seed(0)
    saliency, negative = torch.randn(2, SAMPLES, 7, generator=generator)
    want = 0.0
    for sample, length in enumerate(LENGTHS):
        logits = (saliency[sample, :length] / 0.5).tolist()
        others = [] if alone else (negative[sample, :length] / 0.5).tolist()
        total = math.log(sum(math.exp(logit) for logit in logits + others))
        for rank in range(1, 12):
            reached = [n for n in range(length) if round(12 * float(batch["saliency"][sample, n])) >= rank]
            if reached:
                want += sum(total - logits[n] for n in reached) / len(reached)
    got = rank_loss(saliency, None if alone else negative, batch)
    assert float(got) == pytest.approx(want / SAMPLES / 12, rel=1e-5)


def test_ranks_survive_the_rounding_of_means():
    scores = torch.arange(13)
    batch = {"saliency": (scores / 3 / 4)[:, None], "video_mask": torch.ones(13, 1, dtype=torch.bool)}
    got = rank_loss(torch.zeros(13, 1), torch.zeros(13, 1), batch)
    reached = sum(min(11, int(score)) for score in scores)
    assert float(got) == pytest.approx(math.log(2) * reached / 13 / 12, rel=1e-5)


def test_padding_adds_nothing_to_the_terms_of_saliency(batch):
    generator = torch.Generator().manual_seed(0)
    saliency, negative = torch.randn(2, SAMPLES, 7, generator=generator)
    wild = batch["video_mask"].logical_not() * 50.0
    torch.testing.assert_close(rank_loss(saliency + wild, negative - wild, batch), rank_loss(saliency, negative, batch))
    torch.testing.assert_close(negative_pair_loss(negative + wild, batch), negative_pair_loss(negative, batch))
    want = sum(
        math.log(1 + math.exp(float(negative[sample, n])))
        for sample, length in enumerate(LENGTHS)
        for n in range(length)
    )
    assert float(negative_pair_loss(negative, batch)) == pytest.approx(want / SAMPLES, rel=1e-5)
    assert negative_pair_loss(None, batch) == 0


def test_terms_of_nothing_have_finite_gradients(batch):
    empty = batch | {name: torch.zeros_like(batch[name]) for name in ("saliency", "relevant")}
    saliency = torch.randn(SAMPLES, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = rank_loss(saliency, None, empty) + margin_loss(saliency, empty, training=False)
    loss.backward()
    assert loss == 0 and saliency.grad.isfinite().all()
