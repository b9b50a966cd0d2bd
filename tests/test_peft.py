"""READ as a method of peft: it computes what `read.inject` does, and keeps the habits that peft's own tests ask for."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file

from read.adapters import AdapterConfig, inject, save_adapter, trainable_parameters
from read.errors import InputError
from tests.adapters.conftest import make_transformer, wake

peft = pytest.importorskip("peft")
from read.peft import ReadConfig, ReadModel  # noqa: E402  # which peft has to be there for

SETTINGS = {"mixer": "gru", "bottleneck": 4, "after": ["feed_forward", "attention"]}


@pytest.fixture
def bart():
    return make_transformer("bart")


def fresh():
    return make_transformer("bart")[0]


def made(model, **settings):
    torch.manual_seed(0)
    return peft.get_peft_model(model, ReadConfig(**SETTINGS | settings))


def answer(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


def trained(model):
    return {name.split(".adapters.")[-1]: value for name, value in model.named_parameters() if value.requires_grad}


def test_it_is_a_type_among_peft_s():
    assert peft.PeftType("READ") is peft.PeftType.READ and "READ" in list(peft.PeftType)
    assert peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING[peft.PeftType.READ] is ReadModel
    assert copy.deepcopy(peft.PeftType.READ) is peft.PeftType.READ


def test_it_computes_and_learns_what_inject_does(bart):
    model, inputs = bart
    before = answer(model, inputs)
    torch.manual_seed(0)
    ours, theirs = inject(model, AdapterConfig(**SETTINGS)), made(fresh())
    assert torch.equal(answer(theirs, inputs), before)
    for each in (ours, theirs):
        wake(each, scale=0.1).train()
        torch.manual_seed(1)  # of what drops out
        optimizer = torch.optim.SGD([value for value in each.parameters() if value.requires_grad], lr=1e-3)
        each(**inputs).logits.square().sum().backward()
        optimizer.step()
        each.eval()
    assert all(torch.equal(value, trained(theirs)[name.removeprefix("adapters.")])
               for name, value in ours.named_parameters() if value.requires_grad)  # fmt: skip
    assert torch.equal(answer(theirs, inputs), answer(ours, inputs))


def test_saved_and_loaded(bart, tmp_path):
    model, inputs = bart
    model = wake(made(model), scale=0.1)
    expected = answer(model, inputs)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert weights.keys() == peft.get_peft_model_state_dict(model).keys()
    assert all(key.startswith("base_model.model.adapters.model/") for key in weights)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["peft_type"] == "READ" and {key: config[key] for key in SETTINGS} == SETTINGS
    for settings in ({}, {"low_cpu_mem_usage": True}):
        loaded = peft.PeftModel.from_pretrained(fresh(), tmp_path, "mine", is_trainable=True, **settings)
        assert torch.equal(answer(loaded, inputs), expected)
        assert trainable_parameters(loaded).total == trainable_parameters(model).total
        save_adapter(loaded, tmp_path / "ours")  # READ's own way is open as well
    frozen = peft.PeftModel.from_pretrained(fresh(), tmp_path)
    assert not trained(frozen)
    torch.testing.assert_close(answer(frozen, inputs), expected, atol=1e-5, rtol=1e-5)


def test_several_adapters(bart, tmp_path):
    model, inputs = bart
    before = answer(model, inputs)
    model = wake(made(model), scale=0.1)
    first = answer(model, inputs)
    model.add_adapter("second", ReadConfig(mixer="none", bottleneck=2))
    assert model.active_adapters == ["default"] and torch.equal(answer(model, inputs), first)
    model.set_adapter("second")
    assert {name.split(".")[0] for name in trained(model)} == {"second"}
    second = answer(wake(model, scale=0.1), inputs)
    with model.disable_adapter():
        assert torch.equal(answer(model, inputs), before) and not trained(model)
    assert torch.equal(answer(model, inputs), second) and trained(model)
    status = model.get_model_status()
    assert (status.active_adapters, status.available_adapters) == (["second"], ["default", "second"])
    assert status.requires_grad == {"default": False, "second": True} and status.enabled is True
    model.save_pretrained(tmp_path)
    model.delete_adapter("second")
    assert model.active_adapters == ["default"] and torch.equal(answer(model, inputs), first)
    model.load_adapter(tmp_path / "second", "third", is_trainable=True)
    model.set_adapter("third")
    assert torch.equal(answer(model, inputs), second)
    for name in ("default", "third"):
        model.delete_adapter(name)
    assert torch.equal(answer(model.base_model, inputs), before)
    with pytest.raises(ValueError, match="third does not exist"):
        model.delete_adapter("third")


def test_dtype_is_float32_unless_peft_is_told_otherwise(bart):
    model, inputs = bart
    half = made(model.bfloat16())
    assert {value.dtype for value in trained(half).values()} == {torch.float32}
    answer(wake(half, scale=0.1), inputs)
    config = ReadConfig(**SETTINGS)
    kept = peft.get_peft_model(fresh().bfloat16(), config, autocast_adapter_dtype=False)
    assert {value.dtype for value in trained(kept).values()} == {torch.bfloat16}


def test_merged_where_it_is_an_update_of_weights(bart):
    model, inputs = bart
    keys = set(model.state_dict())
    model = wake(made(model, placement="low_rank", mixer="none", after=["feed_forward"]), scale=0.1)
    model.add_adapter("other", ReadConfig())
    expected = answer(model, inputs)
    merged = model.merge_and_unload(safe_merge=True)
    assert set(merged.state_dict()) == keys and not hasattr(merged, "peft_config")
    torch.testing.assert_close(answer(merged, inputs), expected, atol=1e-4, rtol=1e-4)
    model = wake(made(fresh()), scale=0.1)
    model.add_adapter("other", ReadConfig())
    together = answer(model, inputs)
    with pytest.raises(InputError, match="no update of weights, which only low_rank is"):
        model.merge_and_unload()
    with pytest.raises(InputError, match="merge_and_unload takes it out for good"):
        model.merge_adapter()
    assert torch.equal(answer(model, inputs), together) and set(model.peft_config) == {"default", "other"}
    assert torch.equal(answer(model.unload(), inputs), answer(fresh(), inputs))


def test_modules_that_train_as_a_whole(tmp_path):
    model, inputs = make_transformer("bert")
    before = answer(model, inputs)
    model = wake(peft.get_peft_model(model, ReadConfig(modules_to_save=["classifier"])), scale=0.1)
    assert sum("classifier.modules_to_save" in name for name in trained(model)) == 2
    expected = answer(model, inputs)
    model.save_pretrained(tmp_path)
    with model.disable_adapter():
        assert torch.equal(answer(model, inputs), before)
    loaded = peft.PeftModel.from_pretrained(make_transformer("bert")[0], tmp_path, is_trainable=True)
    assert torch.equal(answer(loaded, inputs), expected)


def test_what_cannot_be_is_refused(bart):
    with pytest.raises(InputError, match=r"mixer 'gur' is none of .*did you mean gru.*bottleneck is 0"):
        ReadConfig(mixer="gur", bottleneck=0)
    with pytest.raises(InputError, match=r"adapters by read\.inject \(default\); remove these first"):
        made(inject(fresh()))
    model = made(bart[0])
    with pytest.raises(InputError, match="add others by its add_adapter"):
        inject(model, name="third")
    with pytest.raises(InputError, match="matches no module"):
        model.add_adapter("second", ReadConfig(targets=("nowhere",)))
    model.add_adapter("second", ReadConfig())
    with pytest.raises(InputError, match="one adapter active at a time, not default, second"):
        model.base_model.set_adapter(["default", "second"])


def test_a_trainer_saves_and_resumes_it(bart, tmp_path):
    from transformers import Trainer, TrainingArguments

    words = [{"input_ids": row, "labels": row} for row in bart[1]["input_ids"]]

    def train(steps, **resume):
        settings = TrainingArguments(
            str(tmp_path), max_steps=steps, per_device_train_batch_size=3, learning_rate=1e-2, report_to=[],
            use_cpu=True, save_strategy="steps", save_steps=1, disable_tqdm=True, lr_scheduler_type="constant",
        )  # fmt: skip
        model = made(fresh(), mixer="rnn")
        Trainer(model, settings, train_dataset=words).train(**resume)
        return trained(model)

    through = train(2)
    saved = load_file(tmp_path / "checkpoint-1" / "adapter_model.safetensors")
    assert len(saved) == len(through)
    resumed = train(2, resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    torch.testing.assert_close(resumed, through, atol=1e-5, rtol=1e-4)
