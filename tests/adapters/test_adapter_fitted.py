"""Parameters that are fitted in closed form for a run, as a map into a joint space: whose they are, who trains them."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from read.adapters import (
    activate,
    apply_strategy,
    deactivate,
    inject,
    load_adapter,
    save_adapter,
    strategy_names,
    trainable_parameters,
)
from read.adapters.io import WEIGHTS, backbone_digest
from read.adapters.sub_blocks import fitted_parameters
from read.errors import InputError

SPACE = ("map.weight", "map.bias", "mean")
CHANGE_THE_MODEL = ("lora", "full", "bias")


class Space(nn.Module):
    fitted = SPACE

    def __init__(self, trains):
        super().__init__()
        self.closed_form = not trains
        self.map, self.mean = nn.Linear(6, 4), nn.Parameter(torch.zeros(4))

    def forward(self, clips):
        return self.map(clips) - self.mean


class Model(nn.Module):
    """A layer, and a map beside it."""

    def __init__(self, trains=True):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.space = nn.Linear(6, 6), Space(trains)

    def feed_forward_blocks(self):
        return {"layer": self.layer}

    def attention_blocks(self):
        return {}

    def joint_blocks(self):
        return {"space.map": self.space.map} if not self.space.closed_form else {}

    def forward(self, clips):
        return self.layer(clips), self.space(clips)


def refit(model, seed):
    """Other values, as those of other labelled videos."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in sorted(fitted_parameters(model)):
            parameter = model.get_parameter(name)
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def outputs(model):
    with torch.no_grad():
        return torch.cat([part.flatten() for part in model(torch.randn(2, 5, 6, generator=torch.Generator()))])


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("name", ["read", "adapter", *CHANGE_THE_MODEL])
def test_a_run_on_a_refitted_map_loads_into_the_plain_backbone(awake, tmp_path, name, trains):
    model = awake(apply_strategy(name, refit(Model(trains), 1)))
    assert len(fitted_parameters(model)) == 3
    save_adapter(model, tmp_path / "run")
    assert torch.equal(outputs(load_adapter(Model(trains), tmp_path / "run")), outputs(model))
    if name != "full":  # under which nothing is frozen
        other = Model(trains)
        with torch.no_grad():
            other.layer.weight.add_(1)
        with pytest.raises(InputError, match="another backbone"):
            load_adapter(other, tmp_path / "run")


def test_a_file_without_what_was_fitted_is_refused(tmp_path):
    save_adapter(inject(refit(Model(), 1)), tmp_path / "run")
    kept = load_file(tmp_path / "run" / WEIGHTS)
    del kept["space.map.bias"]
    save_file(kept, tmp_path / "run" / WEIGHTS)
    with pytest.raises(InputError, match=r"missing keys: space\.map\.bias"):
        load_adapter(Model(), tmp_path / "run")


@pytest.mark.parametrize("name", ["read", "lora"])
def test_refitting_leaves_the_digest(name):
    model = Model()
    digest = backbone_digest(model)
    assert backbone_digest(refit(model, 3)) == digest == backbone_digest(apply_strategy(name, model))


def test_a_switch_brings_its_own_map(awake, tmp_path):
    """Two runs on two maps in one model, and the plain model below them."""
    plain, expected = outputs(Model()), {}
    for seed, name in ((1, "first"), (2, "second")):
        trained = awake(apply_strategy("read", refit(Model(), seed)), seed=seed)
        expected[name] = outputs(trained)
        save_adapter(trained, tmp_path / name)
    model = Model()
    for name in expected:
        load_adapter(model, tmp_path / name, adapter=name)
    for name in ("first", "second", "first"):
        activate(model, name)
        assert torch.equal(outputs(model), expected[name])
    save_adapter(model, tmp_path / "again", adapter="second")  # one that is not active
    assert torch.equal(outputs(load_adapter(Model(), tmp_path / "again")), expected["second"])
    inject(model, name="third")
    assert torch.equal(outputs(model), plain)
    activate(model, "second")
    deactivate(model)
    assert torch.equal(outputs(model), plain)


@pytest.mark.parametrize("name", sorted({*strategy_names()} - {"partial", "peft", "prompt", "proj"}))  # no part of it
def test_what_is_fitted_trains_only_where_the_strategy_says_so(name):
    def trains(model):
        return {key for key in trainable_parameters(model).names if key.startswith("space.")}

    of_free = {
        "full": {f"space.{key}" for key in SPACE},
        "bias": {"space.map.bias"},
        "lora": {f"space.map.lora_{side}.default.weight" for side in "AB"},
    }
    assert trains(apply_strategy(name, Model(trains=False))) == set()
    assert trains(apply_strategy(name, Model())) == of_free.get(name, set())


def test_what_is_fitted_and_not_there_is_named():
    model = Model()
    model.space = copy.deepcopy(model.space)
    model.space.fitted = ("map.weigth",)
    with pytest.raises(InputError, match=r"`fitted` names space\.map\.weigth"):
        inject(model)
