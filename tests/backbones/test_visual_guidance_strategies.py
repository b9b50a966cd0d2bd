"""Strategies, recurrences and alignment in text models that see a video."""

import copy

import pytest
import torch
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
from read.errors import InputError
from tests.backbones.guided import KINDS, alone, logits, make, make_batch, stacks, wake, without


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted({*strategy_names()} - {"peft"}))  # lora, by another name
def test_every_strategy_applies_and_trains(kind, name):
    batch = make_batch()
    model = make(kind, visual_layers=1, dropout=0.0)
    before = logits(model, batch)
    apply_strategy(name, model)
    if name != "prompt":  # prompts are tokens from the start
        assert torch.equal(logits(model, batch), before)
    frozen = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(3):  # first only W_up of a bottleneck has a gradient, and a cell in a low-rank path last of all
        optimizer.zero_grad()
        loss = model.train()(**batch).loss
        assert loss.isfinite()
        loss.backward()
        optimizer.step()
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, frozen[key])}
    trained = set(trainable_parameters(model).names)
    felt = {key for key, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    assert moved and moved <= trained and len(felt) > 0.5 * len(trained)
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


@pytest.mark.parametrize("kind", KINDS)
def test_recurrences_never_see_padding_and_never_leave_their_stack(kind):
    batch, model = make_batch(), make(kind, visual_layers=2)
    wake(inject(model, AdapterConfig(mixer="rnn")), scale=0.6)
    together = logits(model, batch)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], logits(model, alone(batch, i)), atol=1e-4, rtol=1e-4)
    places = {place.name: (place.stack, place.causal) for place in model.adapters.places.values()}
    assert len(places) == 7
    assert {stack for stack, _ in places.values()} == {"guide.project", "guide.visual", *stacks(model)}
    assert all(causal == ("decoder" in stack) for stack, causal in places.values())


def test_the_decoder_stays_causal():
    batch, model = make_batch(), make()
    wake(inject(model, AdapterConfig(mixer="gru")), scale=0.6)
    before, later = logits(model, batch), batch["labels"].clone()
    later[:, 4] = 5  # reaches the decoder as its input 5
    after = logits(model, batch | {"labels": later})
    assert torch.equal(before[:, :5], after[:, :5]) and not torch.allclose(before[:, 5:], after[:, 5:])


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
    narrow = model.adapters.stacks["seq2seq.model.encoder"].thread.narrow
    for i, state in enumerate(states):
        assert torch.equal(state.text, narrow[f"seq2seq.model.encoder.layers.{i}.fc2"][1])


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
    assert loss.isfinite() and not any("decoder" in name for name in reached)
    for side in ("encoder", "visual" if layers else "project"):
        assert any(side in name for name in reached)
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


def test_an_adapter_is_saved_and_loaded(tmp_path):
    batch, model = make_batch(), make(visual_layers=1)
    other = copy.deepcopy(model)
    wake(apply_strategy("read", model))
    save_adapter(model, tmp_path)
    load_adapter(other, tmp_path)
    assert torch.equal(logits(other, batch), logits(model, batch))
