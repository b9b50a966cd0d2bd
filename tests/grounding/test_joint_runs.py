"""A run on the joint backbone: its map, fitted to the labelled videos, is saved with the adapter and comes back."""

import pytest
import torch

from read.adapters import apply_strategy, load_adapter, save_adapter
from read.backbones import build_backbone
from read.data.lazy import read
from read.grounding.inference import predict
from read.grounding.ridge import MapSums, fit_map
from read.grounding.task import Grounding
from read.train import TrainSettings, fit
from tests.grounding.test_ridge import DV, START, E, samples


def backbone():
    torch.manual_seed(0)
    model = build_backbone("joint", video_dim=DV, text_dim=2, joint_start=START, joint_dim=E)
    fit_map(model.space, SOURCE)
    return model


SOURCE = MapSums.of(samples(4, seed=3), START, E)


@pytest.mark.parametrize("strategy", ["read", "adapter", "lora", "full"])
def test_a_run_is_the_same_after_it_was_saved(strategy, tmp_path):
    labelled, unseen = samples(6), samples(3, seed=8)
    model = backbone()
    fit_map(model.space, SOURCE, labelled)
    model = apply_strategy(strategy, model)
    before = predict(model, unseen)
    history = fit(model, Grounding(), labelled, unseen, TrainSettings(6, 8, 0.01, eval_every=6))
    assert history.rows[1]["moment"] > 0
    with torch.no_grad():
        for parameter in model.parameters():  # away from a start that validation may have kept
            parameter.add_(0.01 * parameter.requires_grad)
    after = predict(model, unseen)
    assert after != before
    save_adapter(model, tmp_path / "run")
    loaded = load_adapter(backbone(), tmp_path / "run")
    assert predict(loaded, unseen) == after


def test_training_samples_are_read_by_the_map_that_leaves_them_out():
    labelled = samples(6)
    model = backbone()
    fit_map(model.space, SOURCE, labelled)
    prepared = Grounding().prepare(model, labelled)
    assert all(sample.correction.shape == (9, E) and read(sample.correction).any() for sample in prepared)
    assert all(sample.correction is None for sample in Grounding().prepare(model, samples(2, seed=8)))
