"""Visual guidance on transformers' BART, PEGASUS and T5."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from read.adapters import (
    AdapterConfig,
    alignment_states,
    apply_strategy,
    inject,
    load_adapter,
    save_adapter,
    strategy_names,
    trainable_parameters,
)
from read.alignment import Alignment
from read.backbones.vg_fusion import Fusion, evenly_spaced
from read.backbones.visual_guidance import VisualGuidance, VisualGuidanceConfig
from read.errors import InputError

hf = pytest.importorskip("transformers")
KINDS = ["Bart", "Pegasus", "T5"]
LENGTHS, STEPS = (9, 5, 2), (6, 4, 1)  # real words and real steps of three samples
GENERATION = {"max_new_tokens": 12, "min_new_tokens": 10, "do_sample": False, "no_repeat_ngram_size": 2,
              "output_scores": True, "return_dict_in_generate": True}  # fmt: skip


def make_text(kind, **settings):
    torch.manual_seed(0)
    words = {"vocab_size": 60, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    if kind == "T5":
        sizes = {"d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 1}
    else:
        sizes = {f"{side}_{key}": value for side in ("encoder", "decoder")
                 for key, value in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 24))}  # fmt: skip
        sizes |= {"max_position_embeddings": 64, "decoder_start_token_id": 2, "forced_eos_token_id": None}
        sizes |= {"init_std": 0.4}
    config = getattr(hf, f"{kind}Config")(**words, **sizes | {"d_model": 16} | settings)
    return getattr(hf, f"{kind}ForConditionalGeneration")(config).eval()


def make(kind="Bart", awake=True, **settings):
    """A model whose guide is as if trained, unless told otherwise."""
    text = make_text(kind)
    model = VisualGuidance(text, VisualGuidanceConfig(**{"video_dim": 6, "heads": 2} | settings)).eval()
    return wake(model, model.guide.parameters()) if awake else model


def wake(model, parameters=None, scale=0.4):
    generator = torch.Generator().manual_seed(3)
    parameters = [p for p in model.parameters() if p.requires_grad] if parameters is None else parameters
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return model


def make_batch():
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(3, 60, (3, 9), generator=generator)
    mask = (torch.arange(9) < torch.tensor(LENGTHS)[:, None]).long()
    return {
        "video": torch.randn(3, 6, 6, generator=generator),
        "video_mask": torch.arange(6) < torch.tensor(STEPS)[:, None],
        "input_ids": words.masked_fill(mask == 0, 1),
        "attention_mask": mask,
        "labels": torch.randint(3, 60, (3, 7), generator=generator),
    }


def alone(batch, i):
    """Sample `i` without its padding."""
    sample = {key: value[i : i + 1] for key, value in batch.items()}
    sample |= {key: sample[key][:, : STEPS[i]] for key in ("video", "video_mask")}
    return sample | {key: sample[key][:, : LENGTHS[i]] for key in ("input_ids", "attention_mask")}


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


def without(batch, *names):
    return {key: value for key, value in batch.items() if key not in names}


BLIND = {
    "no video": {"video": None, "video_mask": None},
    "no steps": {"video": torch.zeros(3, 0, 6), "video_mask": None},
    "all masked": {"video_mask": torch.zeros(3, 6, dtype=torch.bool)},
}


# --- the text model as it was ------------------------------------------------------------------------------------


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


# --- words attend to the video -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("kind", KINDS)
def test_recurrences_never_see_padding_and_never_leave_their_stack(kind):
    batch, model = make_batch(), make(kind, visual_layers=2)
    wake(inject(model, AdapterConfig(mixer="rnn")), scale=0.6)
    together = logits(model, batch)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], logits(model, alone(batch, i)), atol=1e-4, rtol=1e-4)
    places = {name: (place.stack, place.causal) for name, place in model.adapters.places.items()}
    assert len(places) == 6
    assert {stack for stack, _ in places.values()} == {"guide.visual", *stacks(model)}
    assert all(causal == ("decoder" in stack) for stack, causal in places.values())


def stacks(model):
    inside = (model.seq2seq.get_encoder(), model.seq2seq.get_decoder())
    return [name for name, module in model.named_modules() if module in inside]


def test_the_decoder_stays_causal():
    batch, model = make_batch(), make()
    wake(inject(model, AdapterConfig(mixer="gru")), scale=0.6)
    before, later = logits(model, batch), batch["labels"].clone()
    later[:, 4] = 5  # reaches the decoder as its input 5
    after = logits(model, batch | {"labels": later})
    assert torch.equal(before[:, :5], after[:, :5]) and not torch.allclose(before[:, 5:], after[:, 5:])


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


# --- long videos -------------------------------------------------------------------------------------------------


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


# --- strategies and alignment ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", strategy_names())
def test_every_strategy_applies_and_trains(kind, name):
    batch = make_batch()
    model = make(kind, visual_layers=1, dropout=0.0)
    before = logits(model, batch)
    apply_strategy(name, model)
    if name != "prompt":  # prompts are tokens from the start
        assert torch.equal(logits(model, batch), before)
    frozen = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(2):  # in the first step only W_up of a bottleneck has a gradient
        optimizer.zero_grad()
        loss = model.train()(**batch).loss
        assert loss.isfinite()
        loss.backward()
        optimizer.step()
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, frozen[key])}
    trained = set(trainable_parameters(model).names)
    assert moved <= trained and len(moved) > 0.5 * len(trained)
    reached = [any(stack in key.replace("/", ".") for key in moved) for stack in ("guide.visual", *stacks(model))]
    if name in ("read", "lora", "adapter", "partial") or (name == "bias" and kind != "T5"):  # which has no biases
        assert all(reached)
    if name == "prompt":  # which causal layers do not take
        assert reached == [True, True, False]


def test_heads_are_the_output_projection_and_the_fusion():
    model = make(visual_layers=1)
    assert model.heads() == ["seq2seq.lm_head", "guide.project", "guide.fusion"]
    trained = set(trainable_parameters(apply_strategy("proj", model)).names)
    fresh = set(model.fresh_parameters())
    assert trained - fresh == {"seq2seq.model.shared.weight"}  # which the output projection is tied to
    assert fresh == {name for name, _ in model.named_parameters() if name not in plain_names(model)}
    assert fresh - trained == {name for name in fresh if "visual" in name}


def plain_names(model):
    return {f"seq2seq.{name}" for name, _ in model.seq2seq.named_parameters()}


def test_visual_and_text_layers_are_aligned_pair_by_pair():
    batch, model = make_batch(), make(visual_layers=3)  # one more than the encoder has
    wake(apply_strategy("read_pvla", model, bottleneck=5))(**batch)
    states = alignment_states(model)
    assert len(states) == 2
    for state in states:
        assert state.video.shape == (3, 6, 5) and state.text.shape == (3, 9, 5)
        assert torch.equal(state.video_mask, batch["video_mask"])
        assert torch.equal(state.text_mask, batch["attention_mask"].bool())
    places = list(model.adapters.places.values())
    assert [place.modality for place in places if "decoder" in place.name] == ["written"] * 2
    narrow = model.adapters.stacks["seq2seq.model.encoder"].narrow
    for i, state in enumerate(states):
        assert torch.equal(state.text, narrow[f"seq2seq.model.encoder.layers.{i}.fc2"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [0, 2])
def test_the_alignment_loss_trains_adapters_and_heeds_padding(kind, layers):
    batch, model = make_batch(), make(kind, visual_layers=layers, max_steps=5)
    wake(apply_strategy("read_pvla", model)).eval()
    align = Alignment(gamma=1.0, mass=0.5)
    model(**batch)
    loss = align(model)
    loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any("encoder" in name for name in reached) and not any("decoder" in name for name in reached)
    assert loss.isfinite() and any("visual" in name for name in reached) == (layers > 0)
    singles = []
    for i in range(3):
        model(**alone(batch, i))
        singles.append(align(model).item())
    assert loss.item() == pytest.approx(sum(singles) / 3, abs=1e-5)
    if not layers:  # then the model's own outputs are aligned: steps and words as they meet
        output = model(**batch)
        (state,) = alignment_states(model)
        assert state.video is output["states"]["video"] and state.text is output["states"]["text"]
        assert torch.equal(state.video_mask.sum(1), torch.tensor([5, 4, 1]))


@pytest.mark.parametrize("layers", [0, 2])
def test_a_pass_without_video_has_nothing_to_align(layers):
    batch, model = make_batch(), make(visual_layers=layers)
    apply_strategy("read_pvla", model)(**batch)
    alignment_states(model)
    model(**without(batch, "video", "video_mask"))  # and what was of the pass before is not taken for its states
    with pytest.raises(InputError, match="no states to align"):
        alignment_states(model)


def test_an_adapter_is_saved_and_loaded(tmp_path):
    batch, model = make_batch(), make(visual_layers=1)
    other = copy.deepcopy(model)
    wake(apply_strategy("read", model))
    save_adapter(model, tmp_path)
    load_adapter(other, tmp_path)
    assert torch.equal(logits(other, batch), logits(model, batch))


# --- training ----------------------------------------------------------------------------------------------------


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
def test_gradient_checkpointing_gives_the_same_gradients(kind):
    batch, gradients = make_batch(), []
    for checkpointing in (False, True):
        model = make(kind, dropout=0.0, visual_layers=1)
        wake(inject(model, AdapterConfig(mixer="gru")))
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            elif isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
        if checkpointing:
            model.seq2seq.gradient_checkpointing_enable()
        model.guide.requires_grad_()
        model(**batch, use_cache=False).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert gradients[0]["guide.fusion.out.weight"].any()
    torch.testing.assert_close(gradients[0], gradients[1])


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


# --- files and bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(kind, tmp_path):
    batch, model = make_batch(), make(kind, visual_layers=1, layer=0, fusion="dot")
    model.seq2seq.generation_config.num_beams = 3
    model.save(tmp_path / "model")
    loaded = VisualGuidance.load(tmp_path / "model")
    assert loaded.config == model.config and loaded.digest() == model.digest() and not loaded.training
    assert torch.equal(logits(loaded, batch), logits(model, batch))
    assert loaded.seq2seq.generation_config.num_beams == 3
    assert {file.name for file in (tmp_path / "model").iterdir()} == {"config.json", "model.safetensors"}
    embeddings = [key for key, value in load_file(tmp_path / "model/model.safetensors").items() if len(value) == 60]
    assert len(embeddings) == 1  # tied weights are written once
    assert loaded.seq2seq.lm_head.weight is loaded.seq2seq.get_input_embeddings().weight
    wake(loaded, [loaded.guide.fusion.norm.weight])
    assert loaded.digest() != model.digest()


def test_save_and_load_in_bf16(tmp_path):
    model = make().bfloat16()
    model.save(tmp_path / "model")
    assert VisualGuidance.load(tmp_path / "model").digest() == model.digest()


def test_loading_is_strict(tmp_path):
    make().save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    broken = weights | {"extra": torch.zeros(1), "guide.fusion.norm.bias": torch.zeros(3)}
    del broken["guide.fusion.out.weight"]
    save_file(broken, tmp_path / "model.safetensors")
    with pytest.raises(InputError) as caught:
        VisualGuidance.load(tmp_path)
    for part in ("missing keys: guide.fusion.out.weight", "unexpected keys: extra", "norm.bias (3,), not (16,)"):
        assert part in str(caught.value)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="not a file of safetensors"):
        VisualGuidance.load(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"model": "univtg"}))
    with pytest.raises(InputError, match="visual_guidance"):
        VisualGuidance.load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        VisualGuidance.load(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_local_folder(kind, tmp_path):
    batch, text = make_batch(), make_text(kind)
    text.save_pretrained(tmp_path)
    model = VisualGuidance.from_pretrained(tmp_path, video_dim=6, heads=2, visual_layers=1)
    assert not model.training and model.config.visual_layers == 1
    assert torch.equal(logits(model, batch), logits(text, without(batch, "video", "video_mask")))


def test_from_pretrained_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(InputError, match=r"no setting fuson; it has .*fusion"):
        VisualGuidance.from_pretrained(tmp_path, video_dim=6, fuson="dot")
    with pytest.raises(InputError, match="video_dim is missing"):
        VisualGuidance.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="no sequence-to-sequence model"):
        VisualGuidance.from_pretrained(tmp_path, video_dim=6)


def test_a_config_names_all_fields_at_fault():
    with pytest.raises(InputError) as caught:
        VisualGuidanceConfig(
            video_dim=0, layer="last", fusion="sum", gate=1, visual_layers=-1, heads=True, dropout=1.0, max_steps=2.5
        )
    names = ("video_dim", "layer", "fusion", "gate", "visual_layers", "heads", "dropout", "max_steps")
    assert all(f"{name} is " in str(caught.value) for name in names)


def test_a_model_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="layer is 2, but the encoder has 2 layers"):
        make(layer=2)
    with pytest.raises(InputError, match="heads 3: the width 16"):
        make(heads=3)
    make(heads=3, fusion="dot")  # which has no heads
    with pytest.raises(InputError, match="Linear: has no encoder"):
        VisualGuidance(nn.Linear(3, 3), VisualGuidanceConfig(video_dim=6))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    with pytest.raises(InputError, match="BertModel: has no encoder whose layers"):
        VisualGuidance(hf.BertModel(hf.BertConfig(vocab_size=60, **sizes)), VisualGuidanceConfig(video_dim=6))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"video": torch.zeros(3, 6, 5)}, r"video: its shape is \(3, 6, 5\), but must be \(B, N, 6\)"),
        ({"video": torch.zeros(3, 6)}, "video: its shape"),
        ({"video_mask": torch.ones(3, 5)}, r"video_mask: its shape is \(3, 5\), but must be \(3, 6\)"),
        ({"video": torch.zeros(2, 6, 6), "video_mask": None}, "video: is of 2 samples, but the words are of 3"),
        ({"encoder_outputs": (torch.zeros(3, 9, 16),)}, "encoder_outputs are of an encoder that has run"),
    ],
)
def test_bad_input_is_refused_and_forgotten(given, message):
    batch, model = make_batch(), make()
    for call in (model, model.generate):
        with pytest.raises(InputError, match=message):
            call(**without(batch, "labels") | given)
    plain = logits(model.seq2seq, without(batch, "video", "video_mask"))
    assert torch.equal(logits(model, without(batch, "video", "video_mask")), plain)


def test_the_module_imports_without_transformers():
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from read.backbones.visual_guidance import VisualGuidance, VisualGuidanceConfig; print('fine')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "fine\n"
