"""READ in the families of transformers, each found by its structure and held to all promises at once."""

import inspect
import re
from collections import Counter

import pytest
import torch

from read.adapters import AdapterConfig, activate, deactivate, inject, load_adapter, save_adapter
from read.adapters.sub_blocks import find_places
from tests.adapters import zoo
from tests.adapters.joins import Joins

pytest.importorskip("transformers")
BOTH = ("attention", "feed_forward")
WRITTEN = torch.tensor([[2, 11, 12, 13, 14]])
FRAME_BY_FRAME = {"timesformer": r"encoder\.layer\.\d\.attention"}  # whose output is put in another order to be added
OWN_POSITIONS = {"roberta", "xlm-roberta", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"}  # that count real tokens themselves
# The plain model gives a padded batch something else than each sample alone: its positions or its pooling count
# padding, or a norm over all of a sound does.
PLAIN_DIFFERS = {
    "bart": {"left"}, "mbart": {"left"}, "marian": {"left"}, "pegasus": {"left"}, "led": {"left"},
    "siglip": {"right"}, "clap": {"left"},
    "wav2vec2": {"left", "right"}, "wav2vec2 stable": {"left"}, "hubert": {"left", "right"},
}  # fmt: skip


# CLAP reads a text off its first token, in whose last layer a cell that reads forwards has nothing to remember.
NO_PAST = {"clap": {"default.text_model/encoder/layer/1/output/dense.mixer.cell.weight_hh_l0"}}
# In double precision the plain model gives nan, or no kernel is there.
SINGLE = {"gemma2", "bloom", "qwen2_moe", "jamba", "qwen3_next", "minimax", "gpt_oss", "deepseek_v3", "llama4"}
FROZEN = {"led", "jamba"}  # torch multiplies by frozen weights in another way


def tokens(output):
    """What a model says of its tokens."""
    if "predictor_output" in output:  # of V-JEPA 2, whose predictor has layers as well
        return output.predictor_output.last_hidden_state
    if "video_embeds" in output:  # of X-CLIP, which compares every sentence with every video
        return torch.cat((output.video_embeds, output.text_model_output[1]), dim=1)
    if "text_embeds" in output:
        return torch.cat((output.text_embeds, output.get("image_embeds", output.get("audio_embeds"))), dim=1)
    return output.logits if "logits" in output else output[0]


@torch.no_grad()
def answer(model, inputs):
    return tokens(model(**inputs))


def given(name, model, side="right", rows=(0, 1, 2)):
    inputs = zoo.feed(name, side == "left", rows)
    known = inspect.signature(model.forward).parameters
    if "decoder_input_ids" in known and "decoder" in "".join(zoo.ZOO[name].stacks):
        inputs["decoder_input_ids"] = WRITTEN.expand(len(rows), -1)
    elif side == "left" and "position_ids" in known and name not in OWN_POSITIONS:
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    return inputs


def apart(name, model, side):
    """How far a batch is from its samples alone, at their real tokens."""
    together, worst = answer(model, given(name, model, side)), 0.0
    for i in range(3):
        alone, mine = answer(model, given(name, model, side, (i,))), together[i : i + 1]
        if mine.shape != alone.shape:
            mine = mine[:, : alone.shape[1]] if side == "right" else mine[:, -alone.shape[1] :]
        worst = max(worst, float((mine - alone).abs().max() / alone.abs().max()))
    return worst


@pytest.mark.parametrize("name", zoo.ZOO)
def test_a_family(awake, tmp_path, name):
    model = zoo.make(name).requires_grad_(name not in FROZEN)
    config = AdapterConfig(bottleneck=4, after=BOTH, bidirectional=True)
    places = find_places(model, config)
    inputs = given(name, model)
    with Joins(model, [place.name for place in places]) as account:
        plain = answer(model, inputs)
    names = {place.name for place in places}
    apart_from = {place for place in names if re.fullmatch(FRAME_BY_FRAME.get(name, ""), place)}
    assert account.joined == names - apart_from, account.otherwise
    sides = ("right", "left") if "attention_mask" in inputs else ("right",)
    differs = {side for side in sides if apart(name, model, side) > 1e-4}
    assert differs == PLAIN_DIFFERS.get(name, set())

    assert torch.equal(answer(inject(model, config), inputs), plain)
    awake(model)
    changed = answer(model, inputs)
    assert not torch.allclose(changed, plain)
    for side in sides:
        if side not in differs:
            assert apart(name, model, side) < 1e-4

    save_adapter(model, tmp_path / "adapter")
    other = load_adapter(zoo.make(name), tmp_path / "adapter", adapter="other")
    assert torch.equal(answer(other, inputs), changed)
    deactivate(other)
    assert torch.equal(answer(other, inputs), plain)
    activate(other, "other")
    assert torch.equal(answer(other, inputs), changed)

    tokens(model(**inputs)).square().sum().backward()
    still = {key for key, value in model.adapters.named_parameters() if value.grad is None or not value.grad.any()}
    assert still == NO_PAST.get(name, set())


@pytest.mark.parametrize("name", zoo.ZOO)
def test_the_stacks_of_a_family(name):
    """By the settings that the model was built with."""
    model, species = zoo.make(name), zoo.ZOO[name]
    stacks = {}
    for kind in BOTH:
        for place in find_places(model, AdapterConfig(after=kind)):
            (prefix,) = [p for p in species.stacks if f"{place.name}.".startswith(f"{p}." if p else "")]
            stacks.setdefault((prefix, kind), []).append(place)
    for prefix, expected in species.stacks.items():
        for kind in BOTH:
            places = stacks.pop((prefix, kind))
            counts = Counter(place.layer for place in places)
            assert list(counts.values()) == [each for each in expected.blocks(kind) if each]
            assert {(place.causal, place.modality) for place in places} == {(expected.causal, expected.modality)}
    assert not stacks


WRITERS = [name for name, species in zoo.ZOO.items() if "writes" in species.traits]


@pytest.mark.parametrize("name", WRITERS)
def test_later_tokens_change_no_earlier_output(awake, name):
    model = zoo.make(name)
    awake(inject(model, AdapterConfig(bottleneck=4, after=BOTH, bidirectional=True)))
    inputs = given(name, model)
    key = "decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids"
    changed = inputs | {key: inputs[key].clone()}
    changed[key][:, -1] = 20
    first, second = answer(model, inputs), answer(model, changed)
    real = slice(None) if key != "input_ids" else slice(0, 1)  # of the others the last is padding
    torch.testing.assert_close(first[real, :-1], second[real, :-1], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(first[real, -1], second[real, -1])


@pytest.mark.parametrize("name", WRITERS)
def test_a_cache_writes_what_no_cache_writes(awake, name):
    model = zoo.make(name)
    model = model if name in SINGLE else model.double()
    awake(inject(model, AdapterConfig(bottleneck=4, after=BOTH)), scale=0.6)
    rows = (0,) if name == "minimax" else (0, 1, 2)  # whose own cache forgets what was padding
    inputs = zoo.feed(name, "decoder_input_ids" not in inspect.signature(model.forward).parameters, rows)
    inputs = {key: value.to(model.dtype) if value.is_floating_point() else value for key, value in inputs.items()}
    for way in ({"num_beams": 1}, {"num_beams": 3}, {"do_sample": True}):
        written = []
        for cached in (True, False):
            torch.manual_seed(0)
            written.append(
                model.generate(
                    **inputs,
                    use_cache=cached,
                    max_new_tokens=4,
                    min_new_tokens=4,
                    suppress_tokens=[zoo.PICTURE, zoo.VIDEO],
                    **{"do_sample": False} | way,
                )
            )
        assert torch.equal(*written), way
