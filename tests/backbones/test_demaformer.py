"""DemaFormer: published keys, published numbers, the average against its recurrence, Langevin against its chain."""

import json
from pathlib import Path

import pytest
import torch

from read.backbones import build_backbone
from read.backbones.demaformer_layers import DEMA
from read.backbones.energy import contrastive_divergence, energy, langevin
from read.backbones.grounding.demaformer import DemaFormer
from tests.backbones.narrow import build, run
from tests.backbones.reference import CHIRP, recipe, reference_batch, wave

EXPECTED = json.loads((Path(__file__).parent / "demaformer_reference.json").read_text())
VARIANTS = {"plain": {}, "audio": {"audio_dim": 4}}
STEPS, SIZE = 3, 0.1  # of the reference's Langevin chain
SAID = {"salience": "logits", "centre": "centre", "offset": "offset", "width": "width"}  # there: here


@pytest.fixture
def batch():
    batch = reference_batch()
    return batch | {"audio": wave((3, 7, 4), 0.5) * batch["video_mask"][..., None]}


def published(variant: str, **settings) -> DemaFormer:
    model = build("demaformer", **VARIANTS[variant], langevin_steps=STEPS, langevin_size=SIZE, **settings)
    model.load_state_dict(recipe(model.state_dict(), CHIRP))
    return model.eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_numbers_are_those_of_the_public_model(batch, variant):
    """The file holds what the public code gave on these weights and this padded batch, dropout off."""
    model, expected = published(variant, masked=False), EXPECTED[variant]
    outputs = run(model, batch)
    for name, ours in SAID.items():
        got = outputs[ours][batch["video_mask"]]
        torch.testing.assert_close(got, torch.tensor(expected["outputs"][name]), atol=1e-5, rtol=0)
    noise = sum(wave((3, 7, 16), 1.1 + step, CHIRP) for step in range(STEPS)) / STEPS**0.5
    losses = model.losses(outputs, batch | {"noise": noise})
    drawn = losses.pop("energy").item() / model.config.energy
    assert drawn == pytest.approx(expected["losses"]["energy"], abs=1e-5)
    assert sum(losses.values()).item() == pytest.approx(expected["losses"]["match"], abs=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_padded_batch_has_the_public_numbers_of_each_sample_alone(batch, variant):
    outputs = run(published(variant), batch)
    for name, ours in SAID.items():
        got = outputs[ours][batch["video_mask"]]
        torch.testing.assert_close(got, torch.tensor(EXPECTED[variant]["alone"][name]), atol=1e-5, rtol=0)


def test_the_average_is_its_recurrence_and_passes_padding():
    torch.manual_seed(0)
    average, tokens = DEMA(8), torch.randn(2, 21, 8)
    with torch.no_grad():
        average.alpha_logit.normal_()
        average.delta_logit.normal_()
    mask = torch.rand(2, 21) > 0.3
    state, expected = torch.zeros(2, 8), []
    alpha, delta = average.alpha_logit.sigmoid(), average.delta_logit.sigmoid()
    for step, new in enumerate(average.in_proj(tokens).unbind(1)):
        state = torch.where(mask[:, step, None], alpha * new + (1 - alpha * delta) * state, state)
        expected.append(average.out_proj(state))
    torch.testing.assert_close(average(tokens, mask), torch.stack(expected, 1), atol=1e-5, rtol=0)


def test_langevin_is_where_its_chain_ends():
    torch.manual_seed(0)
    start, weight, bias = torch.randn(2, 3, 5), torch.randn(1, 5), torch.randn(1)
    noises, moments = torch.randn(7, 2, 3, 5), start
    for noise in noises:
        moments = moments.detach().requires_grad_()
        (slope,) = torch.autograd.grad(energy(moments, weight, bias).sum(), moments)
        moments = moments - SIZE / 2 * slope + SIZE**0.5 * noise
    torch.testing.assert_close(langevin(start, weight, 7, SIZE, noises.sum(0) / 7**0.5), moments.detach())


def test_contrastive_divergence_lowers_what_is_annotated_and_lifts_what_is_drawn():
    moments, drawn, weight = torch.zeros(1, 3, 2), torch.zeros(1, 3, 2), torch.tensor([[1.0, 0.0]])
    positive, mask = torch.tensor([[True, False, False]]), torch.tensor([[True, True, False]])

    def loss():
        return contrastive_divergence(moments, drawn, weight, torch.zeros(1), positive, mask, 0.5).item()

    moments[0, 0, 0], drawn[0, :2, 0], drawn[0, 2, 0] = 4.0, 2.0, 100.0
    assert loss() == -4 + 0.5 * 2
    moments[0, 1:], positive = 9.0, positive & False
    assert loss() == 0


def test_windows_are_what_was_trained(batch):
    """Centre, offset and width that meet their targets give the target's window."""
    model = build("demaformer").eval()
    outputs = run(model, batch)
    start, end = batch["spans"].unbind(-1)
    losses = model.losses(
        outputs
        | {
            "centre": (start + end) / 2,
            "width": end - start,
            "offset": (start + end) - (torch.arange(7) + 0.5) / batch["video_mask"].sum(1, keepdim=True),
        },
        batch,
    )
    assert all(losses[name].item() == pytest.approx(0, abs=1e-6) for name in ("centre", "width", "offset"))


def test_published_checkpoint_loads(tmp_path):
    """In the form of the public trainer: `model`, `epoch` and `cfg`."""
    model = build_backbone("demaformer", video_dim=6, text_dim=5, hidden=16, feed_forward=24, audio_dim=4)
    torch.save({"model": model.state_dict(), "epoch": 3, "cfg": {"lr": 1e-3, "k_steps": 100}}, tmp_path / "best.pt")
    loaded = DemaFormer.load_published(tmp_path / "best.pt")
    assert loaded.digest() == model.digest() and loaded.config == model.config
