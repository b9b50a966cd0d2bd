"""Visual guidance on transformers' BART, PEGASUS and T5: the text model as it was, outputs, training."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from read.adapters import AdapterConfig, inject
from read.backbones.visual_guidance import VisualGuidance, VisualGuidanceConfig
from tests.backbones.guided import BLIND, KINDS, hf, logits, make, make_batch, make_text, wake, without

GENERATION = {"max_new_tokens": 12, "min_new_tokens": 10, "do_sample": False, "no_repeat_ngram_size": 2,
              "output_scores": True, "return_dict_in_generate": True}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"fusion": "dot", "gate": False}, {"visual_layers": 2, "layer": 0}], ids=str)
def test_without_a_video_or_untrained_it_is_the_plain_model_bit_for_bit(kind, settings):
    batch = make_batch()
    plain = logits(make_text(kind), without(batch, "video", "video_mask"))
    assert torch.equal(logits(make(kind, awake=False, **settings), batch), plain)
    model = make(kind, **settings)
    for given in BLIND.values():
        assert torch.equal(logits(model, batch | given), plain)
    assert not torch.allclose(logits(model, batch), plain, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_gate_lets_nothing_through(kind):
    batch, model = make_batch(), make(kind)
    plain = logits(model.seq2seq, without(batch, "video", "video_mask"))
    nn.init.constant_(model.guide.fusion.gate.bias, -1e4)
    assert torch.equal(logits(model, batch), plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 5])
def test_generation_is_the_plain_models(kind, beams):
    batch, settings = without(make_batch(), "labels"), {**GENERATION, "num_beams": beams}
    plain = make_text(kind).generate(**without(batch, "video", "video_mask"), **settings)
    model, untrained = make(kind), make(kind, awake=False)
    found = [model.generate(**batch | given, **settings) for given in BLIND.values()]
    for got in [*found, untrained.generate(**batch, **settings)]:
        assert torch.equal(got.sequences, plain.sequences)
        assert all(torch.equal(one, other) for one, other in zip(got.scores, plain.scores, strict=True))
    assert not torch.equal(model.generate(**batch, **settings).scores[0], plain.scores[0])


def test_defaults_of_generation_are_the_papers(monkeypatch):
    model, batch, seen = make(), without(make_batch(), "labels"), {}
    monkeypatch.setattr(model.seq2seq, "generate", lambda words, **kwargs: seen.update(kwargs))
    paper = {"num_beams": 5, "no_repeat_ngram_size": 3, "max_new_tokens": 64}
    model.generate(**batch)
    assert {key: seen.get(key) for key in paper} == paper
    seen.clear()
    model.generate(**batch, num_beams=2, max_length=9)
    assert seen["num_beams"] == 2 and seen["no_repeat_ngram_size"] == 3 and "max_new_tokens" not in seen
    seen.clear()
    model.generate(**batch, generation_config=hf.GenerationConfig())
    assert not paper.keys() & seen.keys()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 5])
def test_generation_with_and_without_cache_sees_the_video_once(kind, beams):
    batch, model = without(make_batch(), "labels"), make(kind, visual_layers=2).double()  # near ties fall either way
    wake(inject(model, AdapterConfig(mixer="gru", after=("attention", "feed_forward"))), scale=0.6)
    runs = []
    model.guide.visual.register_forward_hook(lambda *_: runs.append("video"))
    model.seq2seq.get_encoder().register_forward_hook(lambda *_: runs.append("words"))
    cached, whole = (model.generate(**batch, **GENERATION, num_beams=beams, use_cache=cache) for cache in (True, False))
    assert runs == ["video", "words"] * 2
    assert torch.equal(cached.sequences, whole.sequences)
    for one, other in zip(cached.scores, whole.scores, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
    blind = model.generate(**without(batch, "video", "video_mask"), **GENERATION, num_beams=beams)
    assert not torch.allclose(blind.scores[0], cached.scores[0])


def test_a_copy_has_a_hook_of_its_own():
    batch, model = make_batch(), make()
    other = copy.deepcopy(model)
    before = logits(model, batch)
    assert torch.equal(logits(other, batch), before)
    nn.init.zeros_(other.guide.fusion.out.weight)
    assert torch.equal(logits(model, batch), before) and not torch.equal(logits(other, batch), before)


def test_outputs_are_a_tree_as_transformers_outputs_are():
    """DistributedDataParallel takes outputs apart and puts them together again."""
    output = make()(**make_batch(), visual_attention=True)
    assert isinstance(output, hf.modeling_outputs.Seq2SeqLMOutput)
    again = torch.utils._pytree.tree_map(lambda value: value * -1, output)
    assert type(again) is type(output) and again.keys() == output.keys()
    assert torch.equal(again.states["video"], -output["states"]["video"])


@pytest.mark.parametrize("kind", KINDS)
def test_bf16(kind):
    batch, model = make_batch(), make(kind, visual_layers=1)
    exact = logits(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**batch, visual_attention=True)
    output.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.guide.parameters())
    assert (output.logits.float() - exact).abs().mean() < 0.1 * exact.abs().mean()
    half = copy.deepcopy(model).bfloat16()
    assert half(**batch).loss.isfinite()


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_the_video_tells_is_learned(kind):
    """Four samples with the same words and different summaries: blind, no model is better than guessing among four."""
    torch.manual_seed(0)
    words = torch.randint(3, 60, (1, 6)).expand(4, -1)
    batch = {"video": torch.randn(4, 3, 6), "input_ids": words, "labels": torch.arange(8, 12)[:, None].expand(-1, 2)}
    batch["labels"] = torch.cat((batch["labels"], torch.full((4, 1), 2)), dim=1)
    losses, still = {}, {"dropout_rate" if kind == "T5" else "dropout": 0.0}
    for name, given in (("seen", batch), ("blind", without(batch, "video"))):
        model = VisualGuidance(
            make_text(kind, **still), VisualGuidanceConfig(video_dim=6, heads=2, dropout=0.0)
        ).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(100):
            optimizer.zero_grad()
            model(**given).loss.backward()
            optimizer.step()
        losses[name] = model.eval()(**given).loss.item()
    least = torch.log(torch.tensor(4.0)).item() / 3  # the first of three tokens is a guess, the others follow from it
    assert losses["blind"] > 0.9 * least
    assert losses["seen"] < 0.3 * least


@torch.no_grad()
def test_threads_see_their_own_videos():
    model, batches = make(), [make_batch(), make_batch()]
    batches[1]["video"] = batches[1]["video"].flip(0) + 1
    expected = [logits(model, batch) for batch in batches]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(lambda i: logits(model, batches[i % 2]), range(40)))
    finally:
        sys.setswitchinterval(interval)
    for i, got in enumerate(found):
        torch.testing.assert_close(got, expected[i % 2], atol=1e-5, rtol=1e-5)
