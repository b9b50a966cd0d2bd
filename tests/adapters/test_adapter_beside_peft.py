"""READ and adapters of peft in one model, whichever came first: none freezes, hides or saves the other."""

import copy

import pytest
import torch
from safetensors.torch import load_file

from read.adapters import (
    AdapterConfig,
    activate,
    apply_strategy,
    deactivate,
    inject,
    load_adapter,
    merge,
    remove,
    save_adapter,
    trainable_parameters,
)
from read.adapters.io import WEIGHTS, backbone_digest
from read.adapters.places import trained_places
from read.errors import InputError

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LINEAR = ["fc1", "fc2", "q_proj", "v_proj"]
READ = AdapterConfig(mixer="gru", bottleneck=4, after=("feed_forward", "attention"))


def lora(**settings):
    return peft.LoraConfig(**{"r": 2, "lora_alpha": 6, "target_modules": LINEAR} | settings)


def answer(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


@pytest.fixture
def bart(transformer):
    model, inputs = transformer("bart")
    model.generation_config.pad_token_id = 1
    return model, inputs


def both(model, first, config=None, read=READ):
    """A model with an adapter of either kind, in either order."""
    config = config or lora()
    torch.manual_seed(0)
    if first == "read":
        return peft.get_peft_model(inject(model, read), config).eval()
    return inject(peft.get_peft_model(model, config), read).eval()


@pytest.mark.parametrize("first", ["read", "peft"])
def test_both_act_and_both_train(bart, transformer, awake, first):
    """Against READ in a backbone with W + alpha / rank * B A written into its weights."""
    plain, inputs = bart
    before = answer(plain, inputs)
    model = both(plain, first)
    assert torch.equal(answer(model, inputs), before)
    awake(model, scale=0.1)
    merged = inject(transformer("bart")[0], READ)
    state = dict(model.get_base_model().named_parameters())
    with torch.no_grad():
        for name, parameter in merged.named_parameters():
            layer = name.removesuffix(".weight")
            if f"{layer}.lora_A.default.weight" in state:
                parameter += 3 * state[f"{layer}.lora_B.default.weight"] @ state[f"{layer}.lora_A.default.weight"]
            elif name in state:
                parameter.copy_(state[name])
    torch.testing.assert_close(answer(model, inputs), answer(merged, inputs), atol=1e-4, rtol=1e-4)
    names = trainable_parameters(model).names
    assert all("lora_" in name or name.startswith("adapters.") for name in names)
    assert set(trained_places(model)) == {"attention", "feed_forward"}
    model.train()(**inputs).logits.square().sum().backward()
    assert all(model.get_base_model().get_parameter(name).grad.any() for name in names)


@pytest.mark.parametrize("kind", ["shira", "oft", "ia3"])
def test_methods_that_do_not_call_the_layer_they_stand_around_hide_nothing(bart, transformer, awake, kind):
    _, inputs = bart
    config = {
        "shira": lambda: peft.ShiraConfig(r=2, target_modules=LINEAR, random_seed=0),
        "oft": lambda: peft.OFTConfig(oft_block_size=8, target_modules=LINEAR),
        "ia3": lambda: peft.IA3Config(target_modules=LINEAR, feedforward_modules=["fc2"]),
    }[kind]
    one, other = (both(transformer("bart")[0], first, config(), READ) for first in ("read", "peft"))
    other.load_state_dict(awake(one, scale=0.1).state_dict())
    together = answer(one, inputs)
    torch.testing.assert_close(answer(other, inputs), together)
    deactivate(one)
    assert not torch.allclose(answer(one, inputs), together, atol=1e-2)


@pytest.mark.parametrize("first", ["read", "peft"])
def test_each_is_saved_and_loaded_its_own_way(bart, transformer, awake, tmp_path, first):
    plain, inputs = bart
    digest = backbone_digest(plain)
    model = awake(both(plain, first), scale=0.1)
    model.save_pretrained(tmp_path / "lora")
    save_adapter(model, tmp_path / "read")
    assert all("lora_" in key for key in load_file(tmp_path / "lora" / "adapter_model.safetensors"))
    assert all(key.startswith("adapters.") for key in load_file(tmp_path / "read" / WEIGHTS))
    fresh = transformer("bart")[0]
    if first == "read":  # what READ had learned beside LoRA is another function without it
        with pytest.raises(InputError, match="beside other adapters of peft"):
            load_adapter(fresh, tmp_path / "read")
    loaded = load_adapter(peft.PeftModel.from_pretrained(fresh, tmp_path / "lora", "mine"), tmp_path / "read").eval()
    assert torch.equal(answer(loaded, inputs), answer(model, inputs))
    with loaded.disable_adapter():
        assert backbone_digest(loaded) == digest != backbone_digest(model)
    loaded.get_base_model().save_pretrained(tmp_path / "backbone")
    again = type(fresh).from_pretrained(tmp_path / "backbone").eval()
    assert backbone_digest(again) == digest


@pytest.mark.parametrize("first", ["read", "peft"])
def test_each_is_switched_its_own_way(bart, awake, first):
    plain, inputs = bart
    before = answer(plain, inputs)
    model = awake(both(plain, first), scale=0.1)
    together, names = answer(model, inputs), set(trainable_parameters(model).names)
    with model.disable_adapter():
        read_alone = answer(model, inputs)
    deactivate(model)
    lora_alone = answer(model, inputs)
    assert {name for name in names if "lora_" in name} == set(trainable_parameters(model).names)
    with model.disable_adapter():
        assert torch.equal(answer(model, inputs), before)
    activate(model, "default")
    assert torch.equal(answer(model, inputs), together) and set(trainable_parameters(model).names) == names
    assert len({tensor.sum().item() for tensor in (before, together, read_alone, lora_alone)}) == 4
    model.add_adapter("second", lora())
    model.set_adapter("second")
    torch.testing.assert_close(answer(model, inputs), read_alone)  # a new LoRA changes nothing
    assert {name for name in names if name.startswith("adapters.")} < set(trainable_parameters(model).names)
    model.delete_adapter("second")
    model.set_adapter("default")
    assert torch.equal(answer(copy.deepcopy(model), inputs), together)
    remove(model, "default")
    assert torch.equal(answer(model, inputs), lora_alone)


@pytest.mark.parametrize("first", ["read", "peft"])
def test_lora_is_merged_and_read_kept(bart, transformer, awake, tmp_path, first):
    plain, inputs = bart
    model = awake(both(plain, first), scale=0.1)
    together = answer(model, inputs)
    with pytest.raises(InputError, match=r"fc1 and .* more: peft stands around it; merge_and_unload first"):
        merge(both(transformer("bart")[0], first, read=AdapterConfig(placement="low_rank", mixer="none")))
    merged = model.merge_and_unload()
    torch.testing.assert_close(answer(merged, inputs), together, atol=1e-4, rtol=1e-4)
    assert all(name.startswith("adapters.") for name in trainable_parameters(merged).names)
    save_adapter(merged, tmp_path / "read")
    remove(merged, "default")
    load_adapter(merged, tmp_path / "read")
    torch.testing.assert_close(answer(merged, inputs), together, atol=1e-4, rtol=1e-4)


def test_cached_generation(bart, awake):
    plain, inputs = bart
    model = awake(both(plain, "peft"), scale=0.1)
    words = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    cached, uncached = (
        model.generate(**words, num_beams=2, max_new_tokens=6, min_new_tokens=6, use_cache=use) for use in (True, False)
    )
    assert torch.equal(cached, uncached)


def test_parts_of_read_are_no_layers_for_peft(transformer):
    model, inputs = transformer("bert")
    everything = {"target_modules": "all-linear", "task_type": "SEQ_CLS"}
    wrapped = peft.get_peft_model(inject(model), lora(**everything))
    with pytest.raises(InputError, match=r"peft stands around a part of READ \(adapters\.default.*exclude_modules"):
        wrapped(**inputs)
    excluded = lora(**everything, exclude_modules=r"(.*\.)?adapters\..*")
    model = peft.get_peft_model(inject(transformer("bert")[0]), excluded)
    model(**inputs)
    assert "classifier.modules_to_save.default.weight" in trainable_parameters(model).names


def test_strategies_that_would_freeze_peft_s_adapters_are_refused(bart):
    model = peft.get_peft_model(bart[0], lora())
    total = trainable_parameters(model).total
    for strategy in ("bias", "lora", "peft"):
        with pytest.raises(InputError, match=rf"strategy {strategy}: .* holds adapters of peft \(.*merge_and_unload"):
            apply_strategy(strategy, model)
    assert trainable_parameters(model).total == total < trainable_parameters(apply_strategy("read", model)).total


def test_what_was_frozen_after_all_says_how_it_trains(bart):
    """As versions of peft do that know of no modules which train beside their own."""
    model, inputs = both(bart[0], "peft"), bart[1]
    model.get_base_model().adapters.requires_grad_(False)
    with pytest.raises(InputError, match=r"has frozen adapter 'default': both train after read\.activate\("):
        model.train()(**inputs)
    activate(model, "default")
    model(**inputs)


def test_in_a_video_language_model(awake):
    for package in ("torchvision", "num2words"):
        pytest.importorskip(package)
    from tests import video_models as vlm

    videos = [vlm.clip(count, seed) for seed, count in enumerate((6, 4))]
    batch = vlm.batch_of(vlm.make_processor("qwen3_vl"), videos, ["Which colour came first?", "When?"])
    plain = vlm.make_model("qwen3_vl")
    before = answer(plain, batch)
    layers = lora(target_modules=["q_proj", "v_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM")
    one, other = (
        both(copy.deepcopy(plain), first, copy.deepcopy(layers), AdapterConfig()) for first in ("read", "peft")
    )
    assert torch.equal(answer(one, batch), before) and torch.equal(answer(other, batch), before)
    other.load_state_dict(awake(one, scale=0.1).state_dict())
    assert torch.equal(answer(other, batch), answer(one, batch))
