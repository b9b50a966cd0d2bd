import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from read.adapters import (
    AdapterConfig,
    activate,
    apply_strategy,
    deactivate,
    inject,
    load_adapter,
    save_adapter,
    strategy_names,
    trainable_parameters,
)
from read.adapters.io import CONFIG, WEIGHTS, adapter_config, backbone_digest
from read.errors import InputError


def spans(model, batch):
    return model(**batch)["spans"]


def rewrite(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


@pytest.fixture
def saved(univtg, awake, tmp_path):
    model = awake(apply_strategy("read", univtg(), train_head=True))
    save_adapter(model, tmp_path / "adapter", extra={"seed": 7})
    return model, tmp_path / "adapter"


@pytest.mark.parametrize("name", strategy_names())
def test_round_trip(univtg, batch, awake, tmp_path, name):
    model = awake(apply_strategy(name, univtg(), train_head=True), scale=0.1)
    save_adapter(model, tmp_path / "adapter", extra={"seed": 7})
    assert adapter_config(tmp_path / "adapter")["extra"] == {"seed": 7}
    assert sum(value.numel() for value in load_file(tmp_path / "adapter" / WEIGHTS).values()) == (
        trainable_parameters(model).total
    )
    loaded = load_adapter(univtg(), tmp_path / "adapter")
    assert torch.equal(spans(loaded, batch), spans(model, batch))
    assert trainable_parameters(loaded).names == trainable_parameters(model).names


def test_an_injected_config_round_trips(univtg, batch, awake, tmp_path):
    model = awake(inject(univtg(), AdapterConfig(mixer="lstm", bottleneck=3, after="attention"), "mine"))
    save_adapter(model, tmp_path / "adapter")
    assert torch.equal(spans(load_adapter(univtg(), tmp_path / "adapter", adapter="other"), batch), spans(model, batch))


def test_missing_unexpected_and_misshapen_keys_are_named(univtg, saved):
    _, folder = saved

    def spoil(weights):
        first, second, *_ = sorted(key for key in weights if key.startswith("adapters."))
        del weights[first]
        weights[second] = torch.zeros(3, 1)
        weights["stray.weight"] = torch.zeros(1)

    names = sorted(load_file(folder / WEIGHTS))[:2]
    rewrite(folder, spoil)
    with pytest.raises(InputError) as caught:
        load_adapter(univtg(), folder)
    message = str(caught.value)
    assert "missing keys: " + names[0].replace("adapters.", "adapters.default.") in message
    assert "unexpected keys: stray.weight" in message
    assert names[1].replace("adapters.", "adapters.default.") + " (3, 1), not" in message


def test_another_backbone_is_refused(univtg, saved):
    model = univtg()
    with torch.no_grad():
        model.transformer.encoder.layers[1].norm1.bias[3] += 1e-3
    with pytest.raises(InputError, match="another backbone"):
        load_adapter(model, saved[1])
    with pytest.raises(InputError, match="another backbone"):
        load_adapter(univtg(layers=3), saved[1])


def test_heads_that_train_do_not_tell_backbones_apart(univtg, batch, saved):
    model = univtg()
    with torch.no_grad():
        model.class_embed.layers[0].bias += 1
    assert torch.equal(spans(load_adapter(model, saved[1]), batch), spans(saved[0], batch))


def test_the_digest_follows_the_weights(univtg):
    model = univtg()
    first = backbone_digest(model)
    assert backbone_digest(model) == first == backbone_digest(inject(univtg()))
    with torch.no_grad():
        model.class_embed.layers[0].bias.add_(1)
    assert backbone_digest(model) != first
    model.class_embed.layers[0].bias.data = univtg().class_embed.layers[0].bias.data
    assert backbone_digest(model) == first
    assert backbone_digest(model.half().float()) != first


def test_heads_switch_with_their_adapter(univtg, batch, awake, saved, tmp_path):
    first, folder = saved
    model = univtg()
    plain = spans(model, batch)
    other = awake(apply_strategy("adapter", model, adapter="other", train_head=True), seed=5)
    changed = spans(other, batch)
    load_adapter(model, folder, adapter="first")
    assert torch.equal(spans(model, batch), spans(first, batch))
    activate(model, "other")
    assert torch.equal(spans(model, batch), changed)
    save_adapter(model, tmp_path / "again", adapter="first")  # one that is not active
    deactivate(model)
    assert torch.equal(spans(model, batch), plain)
    assert torch.equal(spans(load_adapter(univtg(), tmp_path / "again"), batch), spans(first, batch))


def test_a_load_that_fails_leaves_the_model_as_it_was(univtg, batch, awake, saved):
    _, folder = saved
    rewrite(folder, lambda weights: weights.popitem())
    model = awake(inject(univtg(), name="mine"))
    before = spans(model, batch)
    with pytest.raises(InputError):
        load_adapter(model, folder, adapter="loaded")
    assert torch.equal(spans(model, batch), before)
    assert list(model.adapters) == ["mine"]


def test_what_would_be_lost_is_refused(univtg, tmp_path):
    model = inject(univtg())
    model.class_embed.requires_grad_(True)
    with pytest.raises(InputError, match=r"class_embed.layers.0.weight.*would be lost"):
        save_adapter(model, tmp_path / "adapter")
    with pytest.raises(InputError, match="nothing to save"):
        save_adapter(univtg(), tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_broken_files(univtg, saved, tmp_path):
    _, folder = saved
    with pytest.raises(InputError, match=r"adapter.json: no such file"):
        load_adapter(univtg(), tmp_path)
    (folder / WEIGHTS).write_bytes(b"\x80\x04junk")
    with pytest.raises(InputError, match="not a file of safetensors"):
        load_adapter(univtg(), folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"adapter.safetensors: no such file"):
        load_adapter(univtg(), folder)
    (folder / CONFIG).write_text(json.dumps({"strategy": "read"}))
    with pytest.raises(InputError, match="lacks"):
        load_adapter(univtg(), folder)
    (folder / CONFIG).write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        load_adapter(univtg(), folder)


@pytest.mark.parametrize("name", ["proj", "full", "read"])
def test_tied_weights_that_train_do_not_tell_backbones_apart(transformer, awake, tmp_path, name):
    model, inputs = transformer("bart")
    save_adapter(awake(apply_strategy(name, model, train_head=True)), tmp_path / "adapter")
    expected = model.eval()(**inputs).logits
    loaded = load_adapter(transformer("bart")[0], tmp_path / "adapter").eval()
    assert torch.equal(loaded(**inputs).logits, expected)
