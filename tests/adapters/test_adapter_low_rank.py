"""The low-rank form: LoRA's update with a recurrence in its path, by hand, against peft, and written into weights."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from read.adapters import AdapterConfig, activate, apply_strategy, deactivate, inject, merge
from read.errors import InputError

FORM = {"placement": "low_rank", "scale": 1.5, "bidirectional": True, "bottleneck": 3}


class Layer(nn.Module):
    """A feed-forward block that the model tells of by its last linear layer."""

    def __init__(self):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(8, 16), nn.Linear(16, 8)

    def feed_forward_blocks(self):
        return {"linear2": self.linear2}

    def forward(self, x):
        return x + self.linear2(F.relu(self.linear1(x)))


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return Layer()


def test_a_recurrence_stands_in_the_path_of_each_linear_layer(layer, awake):
    plain, x = copy.deepcopy(layer), torch.randn(2, 7, 8)
    adapters = awake(inject(layer, AdapterConfig(**FORM))).adapters["default"]

    def expected(name, tokens):
        part = adapters[name]
        z = tokens @ part.down.weight.T
        backwards = part.mixer.reverse_cell(z.flip(1))[0].flip(1)
        path = z + part.alpha * (part.mixer.cell(z)[0] + backwards)
        return plain.get_submodule(name)(tokens) + 1.5 * path @ part.up.weight.T

    torch.testing.assert_close(layer(x), x + expected("linear2", F.relu(expected("linear1", x))))
    assert {key.rpartition(".")[2] for key in adapters["linear1"].down.state_dict()} == {"weight"}


def test_it_starts_as_lora_does(layer):
    part = inject(layer, AdapterConfig(**FORM)).adapters["default"]["linear2"]
    assert not part.up.weight.any() and not part.alpha.any()
    torch.manual_seed(1)
    kaiming = nn.init.kaiming_uniform_(torch.empty(3, 16), a=5**0.5)
    torch.manual_seed(1)
    assert torch.equal(nn.Linear(16, 3, bias=False).weight, kaiming)  # what `down` is made by
    assert 0.9 < part.down.weight.abs().max() * 4 <= 1


@pytest.mark.parametrize("name", ["read_lora", "read_lora_control"])
def test_without_its_cell_it_is_lora(univtg, batch, awake, name):
    """With alpha 0 against peft's layers with the same A and B, at the default scale; attention left alone by both."""
    ours = awake(apply_strategy(name, univtg(), after=("projection", "feed_forward")))
    theirs = apply_strategy("lora", univtg(), rank=4, alpha=8)
    parts = ours.adapters["default"]
    with torch.no_grad():
        for key, part in parts.items():
            if part.alpha is not None:
                part.alpha.zero_()
            linear = theirs.get_submodule(key.replace("/", "."))
            linear.lora_A["default"].weight.copy_(part.down.weight)
            linear.lora_B["default"].weight.copy_(part.up.weight)
    expected, got = theirs(**batch), ours(**batch)
    for key in ("spans", "scores", "saliency"):
        torch.testing.assert_close(got[key], expected[key], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(got["spans"], univtg()(**batch)["spans"])
    updated = sum(p.numel() for key, p in theirs.named_parameters() if p.requires_grad and "self_attn" not in key)
    assert sum(p.numel() for part in parts.values() for p in (part.down.weight, part.up.weight)) == updated


def test_after_attention_it_updates_the_output_projection(univtg, batch, awake):
    ours = awake(inject(univtg(), AdapterConfig(mixer="none", placement="low_rank", after="attention")))
    expected = univtg()
    with torch.no_grad():
        for i in range(2):
            part = ours.adapters["default"][f"transformer/encoder/layers/{i}/attention"]
            out = expected.get_submodule(f"transformer.encoder.layers.{i}.self_attn.out_proj")
            update = torch.eye(32) + part.up.weight @ part.down.weight
            out.weight.copy_(update @ out.weight)
            out.bias.copy_(update @ out.bias)
    torch.testing.assert_close(ours(**batch)["spans"], expected(**batch)["spans"], atol=1e-5, rtol=1e-4)


def test_a_target_that_is_a_linear_layer_is_meant_itself(layer, awake):
    model = awake(inject(layer, AdapterConfig(placement="low_rank", targets="linear2")))
    assert list(model.adapters["default"]) == ["linear2"]
    assert model.adapters["default"]["linear2"].down.in_features == 16


def test_two_adapters_take_a_module_of_one_name_in_two_ways(layer, awake):
    """`linear2` ends the block that `sequential` adapts, and is itself what `low_rank` does."""
    alone, x = {}, torch.randn(2, 7, 8)
    forms = {"first": {"placement": "parallel"}, "second": FORM}
    for seed, (name, form) in enumerate(forms.items()):
        alone[name] = awake(inject(copy.deepcopy(layer), AdapterConfig(**form), name), seed)
    plain = layer(x)
    for name, form in forms.items():
        inject(layer, AdapterConfig(**form), name)
        layer.adapters[name].load_state_dict(alone[name].adapters[name].state_dict())
    for name in ("first", "second", "first"):
        activate(layer, name)
        assert torch.equal(layer(x), alone[name](x))
    deactivate(layer)
    assert torch.equal(layer(x), plain)


def test_merging_writes_the_updates_into_the_weights(univtg, batch, awake):
    model = awake(apply_strategy("read_lora_control", univtg(), train_head=True))
    expected = model(**batch)
    merge(model)
    assert set(model.state_dict()) == set(univtg().state_dict())
    got = model(**batch)
    for key in ("spans", "scores", "saliency"):
        torch.testing.assert_close(got[key], expected[key], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(got["spans"], univtg()(**batch)["spans"])


def test_a_cell_that_has_no_part_is_merged_too(layer, awake):
    model, x = awake(inject(layer, AdapterConfig(**FORM), "mine")), torch.randn(2, 7, 8)
    for part in model.adapters["mine"].values():
        nn.init.zeros_(part.alpha)
    expected = model(x)
    torch.testing.assert_close(merge(model, "mine")(x), expected)


def test_what_is_no_update_of_weights_is_not_merged(univtg, layer, batch, awake):
    model = awake(inject(univtg(), AdapterConfig(placement="low_rank", after=("attention", "feed_forward"))))
    before = model(**batch)["spans"]
    with pytest.raises(InputError, match=r"layers.0.linear1 and 5 more: there the cell has a part"):
        merge(model)
    assert torch.equal(model(**batch)["spans"], before)
    model = awake(inject(univtg(), AdapterConfig(placement="low_rank", mixer="none", after="attention")))
    with pytest.raises(InputError, match=r"layers.0.attention and 1 more: no linear layer"):
        merge(model)
    with pytest.raises(InputError, match="'default' is sequential"):
        merge(inject(univtg()))
    inject(inject(layer, AdapterConfig(**FORM), "mine"), AdapterConfig(), "other")
    with pytest.raises(InputError, match="backbone of other"):
        merge(layer, "mine")
    with pytest.raises(InputError, match=r"'mind'.*mine"):
        merge(layer, "mind")
