"""Gradient checkpointing: the same gradients for less memory, with adapters in the layers."""

import pytest
import torch
from torch import nn

from read.adapters import alignment_states, apply_strategy
from read.alignment import Alignment
from read.backbones import backbone_names, build_backbone
from read.errors import InputError
from read.grounding.task import Grounding
from read.recomputed import recomputed
from read.train import TrainSettings, fit
from tests.backbones import guided, narrow
from tests.test_train import SIZES, planted


def trained(model, forward, wanted):
    """A step's loss and gradients, in which something is drawn, and what is aligned where something is."""
    model.zero_grad()
    torch.manual_seed(0)
    with recomputed(model, wanted):
        loss = forward()
        states = (
            [states.video.detach().clone() for states in alignment_states(model)]
            if model.adapters.record_narrow
            else []
        )
        loss.backward()
        kept = [states.video for states in alignment_states(model)] if states else []
    assert all(torch.equal(one, other) for one, other in zip(states, kept, strict=True))
    return loss.detach(), {name: value.grad for name, value in model.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("name", backbone_names())
def test_backbones_have_the_same_gradients(name):
    settings = {"dropout": 0.2} if hasattr(narrow.build(name).config, "dropout") else {}
    strategy = "read" if name in ("joint", "umt") else "read_pvla"
    model = narrow.wake(apply_strategy(strategy, narrow.build(name, **settings), train_head=True)).train()
    batch = narrow.make_batch(name)

    def forward():
        loss = sum(model.losses(narrow.forward(model, batch), batch).values())
        return loss + Alignment(contrast=1.0)(model) if strategy == "read_pvla" else loss

    torch.testing.assert_close(trained(model, forward, True), trained(model, forward, False))
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("kind", guided.KINDS)
def test_text_models_have_the_same_gradients(kind):
    batch, model = guided.make_batch(), guided.make(kind, dropout=0.1, visual_layers=1)
    guided.wake(apply_strategy("read_pvla", model, train_head=True)).train()

    def forward():
        return model(**batch, use_cache=False).loss + Alignment()(model)

    alone, again = trained(model, forward, False), trained(model, forward, True)
    torch.testing.assert_close(again, alone)
    assert again[1]["guide.fusion.out.weight"].any(), "what the words see is no part of what is recomputed"


def kept_bytes(model, batch, wanted):
    """What is kept of a forward pass for the backward one, without the parameters."""
    held, own = {}, {parameter.data_ptr() for parameter in model.parameters()}

    def note(tensor):
        if (storage := tensor.untyped_storage()).data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    def note_inputs(layer, args):  # which a checkpoint holds
        for tensor in args:
            note(tensor)

    hooks = [layer.register_forward_pre_hook(note_inputs) for layer in model.layers.values()]
    with recomputed(model, wanted), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        _ = narrow.forward(model, batch)
    for hook in hooks:
        hook.remove()
    return sum(size for size, _ in held.values())


def test_what_is_kept_of_a_long_video_is_a_fraction():
    model = build_backbone("univtg", **SIZES | {"layers": 4}).train()
    batch = {"video": torch.randn(2, 400, SIZES["video_dim"]), "text": torch.randn(2, 5, SIZES["text_dim"])}
    batch |= {f"{side}_mask": torch.ones(batch[side].shape[:2], dtype=torch.bool) for side in ("video", "text")}
    assert kept_bytes(model, batch, True) < 0.4 * kept_bytes(model, batch, False)


def test_fit_gives_the_same_and_leaves_the_model_as_it_was():
    train, found = planted(12, seed=1), []
    for wanted in (False, True):
        torch.manual_seed(0)
        model = build_backbone("univtg", **SIZES)
        settings = TrainSettings(steps=4, batch_size=6, eval_every=4, gradient_checkpointing=wanted)
        found.append([row["loss"] for row in fit(model, Grounding(), train, train, settings).rows[1:]])
        assert not any("forward" in vars(module) for module in model.modules())
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_model_whose_layers_are_not_known_is_refused():
    with pytest.raises(InputError, match="the layers of Linear are not known"), recomputed(nn.Linear(2, 2)):
        pass
