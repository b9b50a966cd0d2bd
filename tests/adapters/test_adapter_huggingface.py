"""READ inside models of transformers and open_clip. Slow to import, so few and parametrised."""

import pytest
import torch
from torch import nn

from read.adapters import (
    AdapterConfig,
    activate,
    alignment_states,
    apply_strategy,
    inject,
    load_adapter,
    save_adapter,
    strategy_names,
    trainable_parameters,
)
from read.adapters import recurrent_cache as cache_module
from read.errors import InputError

pytest.importorskip("transformers")
FAMILIES = ["bart", "pegasus", "t5", "bert", "clip", "videomae"]
DECODERS = ["bart", "pegasus", "t5"]
BOTH = ("attention", "feed_forward")
# layers of encoder (attention, feed-forward) and decoder (self and cross-attention, feed-forward)
PLACES = {"bart": 10, "pegasus": 10, "t5": 10, "bert": 4, "clip": 8, "videomae": 4}
LINEAR = {"bart": 4, "pegasus": 4, "t5": 4, "bert": 2, "clip": 4, "videomae": 2}  # one more for each feed-forward block


def answer(model, inputs):
    with torch.no_grad():  # T5 takes another attention kernel where its position bias wants a gradient
        output = model(**inputs)
    return output.logits_per_text if hasattr(output, "logits_per_text") else output.logits


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("placement", ["sequential", "parallel", "low_rank"])
def test_untrained_is_bit_identical_and_all_places_are_found(transformer, awake, kind, placement):
    model, inputs = transformer(kind)
    before = answer(model, inputs)
    inject(model, AdapterConfig(after=BOTH, placement=placement))
    assert torch.equal(answer(model, inputs), before)
    assert len(model.adapters.keys_of["default"]) == PLACES[kind] + (LINEAR[kind] if placement == "low_rank" else 0)
    for parameter in model.adapters.parameters():
        nn.init.normal_(parameter)
    output = model(**inputs)
    (output.logits_per_text if kind == "clip" else output.logits).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.adapters.parameters())
    assert not torch.equal(answer(model, inputs), before)


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_strategy_trains(transformer, kind):
    for name in strategy_names():
        model, inputs = transformer(kind)
        if (kind, name) == ("t5", "bias"):
            with pytest.raises(InputError, match="nothing would train"):  # T5 has no biases
                apply_strategy(name, model)
            continue
        apply_strategy(name, model)
        output = model.train()(**inputs)
        (output.logits_per_text if kind == "clip" else output.logits).square().sum().backward()
        assert any(p.grad is not None and p.grad.any() for p in model.parameters()), name
        assert all(p.grad is None for p in model.parameters() if not p.requires_grad), name


@pytest.mark.parametrize("kind", ["bart", "t5", "bert"])
@pytest.mark.parametrize("strategy", ["read", "read_lora", "prompt"])
def test_padding_never_changes_a_result(transformer, awake, kind, strategy):
    model, inputs = transformer(kind)
    settings = {"bidirectional": True} if (kind, strategy) == ("bert", "read") else {}
    awake(apply_strategy(strategy, model, **settings))
    together = answer(model, inputs)
    for i, length in enumerate(inputs["attention_mask"].sum(1)):
        alone = {key: value[i : i + 1] for key, value in inputs.items()}
        alone |= {key: alone[key][:, :length] for key in ("input_ids", "attention_mask")}
        torch.testing.assert_close(together[i : i + 1], answer(model, alone), atol=1e-5, rtol=1e-4)


def test_video_tokens_of_one_place_are_a_sequence_over_time(transformer):
    """VideoMAE: 2 moments (4 frames, two to a tubelet) of 4 patches each."""
    model, inputs = transformer("videomae")
    inject(model, AdapterConfig(mixer="rnn", bottleneck=6))
    adapt = next(iter(model.get_submodule("videomae.encoder.layer.0.output.dense")._forward_hooks.values()))
    layer = model.adapters["default"]["videomae/encoder/layer/0/output/dense"]
    nn.init.normal_(layer.up.weight)
    answer(model, inputs)
    tokens = torch.randn(3, 8, 16)
    z = layer.down(tokens).view(3, 2, 4, 6)
    h = torch.stack([layer.mixer.cell(z[:, :, place])[0] for place in range(4)], dim=2)
    expected = tokens + layer.up(nn.functional.gelu(z + h)).view(3, 8, 16)
    torch.testing.assert_close(adapt(None, (), tokens), expected)


@pytest.mark.parametrize("kind", [*DECODERS, "clip"])
@pytest.mark.parametrize("placement", ["sequential", "low_rank"])
def test_causal_layers_read_forwards_only(transformer, kind, placement):
    model = inject(transformer(kind)[0], AdapterConfig(bidirectional=True, placement=placement, after=BOTH))
    adapters = model.adapters
    for key, name in adapters.keys_of["default"].items():
        backwards = adapters["default"][name].mixer.reverse_cell is not None
        assert backwards != adapters.places[key].causal
    assert {place.causal for place in adapters.places.values()} == {False, True}


def settings_of(mixer):
    form = {"placement": "low_rank", "bidirectional": True} if mixer.startswith("low-rank") else {}
    return form | {"mixer": mixer.split()[-1]}


def generate(model, inputs, beams, cached):
    words = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    return model.double().generate(  # in single precision, near ties of low beams fall either way
        **words, num_beams=beams, use_cache=cached, max_new_tokens=20, min_new_tokens=18, do_sample=False,
        no_repeat_ngram_size=2,  # or a random model says one word all the time
        output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("mixer", ["rnn", "gru", "lstm", "conv", "none", "low-rank gru", "mingru"])
@pytest.mark.parametrize("beams", [1, 5])
def test_generation_with_and_without_cache(transformer, awake, kind, mixer, beams):
    model, inputs = transformer(kind)
    awake(inject(model, AdapterConfig(**settings_of(mixer), after=BOTH)), scale=0.6)
    cached, whole = generate(model, inputs, beams, True), generate(model, inputs, beams, False)
    assert torch.equal(cached.sequences, whole.sequences)
    for one, other in zip(cached.scores, whole.scores, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
    if beams > 1:
        torch.testing.assert_close(cached.sequences_scores, whole.sequences_scores)


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("mixer", ["rnn", "conv"])
def test_the_states_have_to_follow_the_beams(transformer, awake, monkeypatch, kind, mixer):
    """The test above would notice: without the reordering the scores differ."""
    model, inputs = transformer(kind)
    awake(inject(model, AdapterConfig(mixer=mixer, after=BOTH)), scale=0.6)
    right = generate(model, inputs, 5, True).sequences_scores
    monkeypatch.setattr(cache_module, "_pick", lambda cache, index: None)
    assert not torch.allclose(generate(model, inputs, 5, True).sequences_scores, right)


@pytest.mark.parametrize("mixer", ["gru", "lstm", "conv", "low-rank gru", "ema"])
def test_a_decoder_goes_on_from_a_cache_in_pieces(transformer, awake, mixer):
    model, inputs = transformer("bart")
    awake(inject(model, AdapterConfig(**settings_of(mixer), after=BOTH)))
    words = inputs["decoder_input_ids"]
    mask = torch.ones_like(words)
    mask[1, :3] = 0  # padded on the left, as prompts are
    encoded = model.get_encoder()(inputs["input_ids"], inputs["attention_mask"])
    given = {"encoder_outputs": encoded, "attention_mask": inputs["attention_mask"]}
    whole = model(**given, decoder_input_ids=words, decoder_attention_mask=mask, use_cache=False).logits
    cache, pieces = None, []
    for start, stop in ((0, 2), (2, 5), (5, 6)):
        output = model(
            **given,
            decoder_input_ids=words[:, start:stop],
            decoder_attention_mask=mask[:, :stop],
            past_key_values=cache,
            use_cache=True,
        )
        cache = output.past_key_values
        pieces.append(output.logits)
    real = mask.bool()
    torch.testing.assert_close(torch.cat(pieces, dim=1)[0], whole[0], atol=1e-5, rtol=1e-4)
    states = [state for state in cache.adapter_states.values() for state in state]
    assert all(len(state) == 3 for state in states)
    assert real[1].sum() == 3


def test_two_towers_have_states_to_align(transformer, awake):
    """CLIP: layer by layer, the picture's patches beside the words without their padding."""
    model, inputs = transformer("clip")
    awake(apply_strategy("read_pvla", model, bottleneck=5))(**inputs)
    states = alignment_states(model)
    assert len(states) == 2
    for state in states:
        assert state.video.shape == (3, 5, 5) and state.text.shape == (3, 9, 5)
        assert state.video_mask.all() and torch.equal(state.text_mask, inputs["attention_mask"].bool())


def test_one_modality_has_nothing_to_align(transformer):
    model, inputs = transformer("bart")
    apply_strategy("read_pvla", model)(**inputs)
    with pytest.raises(InputError, match="do not tell video tokens from text"):
        alignment_states(model)


def test_a_cache_of_another_adapter_is_refused(transformer):
    model, inputs = transformer("bart")
    inject(inject(model, AdapterConfig(), "first"), AdapterConfig(), "second")
    cache = model(**inputs, use_cache=True).past_key_values
    activate(model, "first")
    with pytest.raises(InputError, match="without adapter 'first'"):
        model(**inputs, past_key_values=cache)


def test_a_cache_that_holds_no_keys_is_refused():
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=60, hidden_size=16, state_size=4, num_hidden_layers=1)).eval()
    inject(model, AdapterConfig(targets="mixer", causal=True))
    words = torch.tensor([[5, 6, 7]])
    with pytest.raises(InputError, match=r"cache_params: a DynamicCache .* set use_cache=False"):
        model.generate(words, max_new_tokens=3, min_new_tokens=3)
    assert model.generate(words, max_new_tokens=3, min_new_tokens=3, use_cache=False).shape == (1, 6)


def test_assisted_generation_is_refused(transformer):
    model, inputs = transformer("bart")
    inject(model)
    cache = model(**inputs, use_cache=True).past_key_values
    with pytest.raises(InputError, match="assisted"):
        cache.crop(1)


def test_trainer_and_save_pretrained(transformer, tmp_path):
    from transformers import Trainer, TrainingArguments

    model, inputs = transformer("bart")
    inject(model, AdapterConfig(mixer="rnn"))
    frozen = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
    words = [{"input_ids": row, "labels": row} for row in inputs["input_ids"]]
    settings = TrainingArguments(
        str(tmp_path / "run"), max_steps=4, per_device_train_batch_size=2, learning_rate=1e-2, report_to=[],
        use_cpu=True, save_strategy="steps", save_steps=4, disable_tqdm=True, logging_steps=1,
    )  # fmt: skip
    trainer = Trainer(model, settings, train_dataset=words)
    trainer.train()
    assert all(torch.equal(value, frozen[name]) for name, value in model.named_parameters() if name in frozen)
    assert model.adapters["default"]["model/encoder/layers/0/fc2"].up.weight.any()

    model.eval().save_pretrained(tmp_path / "model")
    save_adapter(model, tmp_path / "adapter")
    loaded = type(model).from_pretrained(tmp_path / "model").eval()
    load_adapter(loaded, tmp_path / "adapter")
    assert torch.equal(answer(loaded, inputs), answer(model, inputs))
    assert trainable_parameters(loaded).names == trainable_parameters(model).names


def test_gradient_checkpointing_of_transformers(transformer, awake):
    gradients = []
    for checkpointing in (False, True):
        model, inputs = transformer("bart")
        model.config.dropout = 0.0
        awake(inject(model, AdapterConfig(after=BOTH, placement="parallel")))
        for module in model.modules():
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.train()(**inputs, use_cache=False).logits.square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    torch.testing.assert_close(gradients[0], gradients[1])


def test_peft_and_read_agree_on_what_is_a_linear_layer(transformer):
    """peft's own `all-linear` finds the same layers in BART, the head aside."""
    from peft import LoraConfig, get_peft_model

    ours = apply_strategy("lora", transformer("bart")[0], rank=2)
    theirs = get_peft_model(transformer("bart")[0], LoraConfig(r=2, target_modules="all-linear"))
    mine = {name for name, parameter in ours.named_parameters() if parameter.requires_grad}
    others = {name.removeprefix("base_model.model.") for name, p in theirs.named_parameters() if p.requires_grad}
    assert mine == {name for name in others if not name.startswith("lm_head")}


def test_open_clip():
    import open_clip

    torch.manual_seed(0)
    model = open_clip.CLIP(
        8,
        vision_cfg={"image_size": 32, "patch_size": 16, "layers": 2, "width": 64, "head_width": 32},
        text_cfg={"context_length": 9, "vocab_size": 60, "width": 16, "heads": 2, "layers": 2},
    ).eval()
    inputs = {"image": torch.randn(2, 3, 32, 32), "text": torch.randint(1, 60, (2, 9))}
    with torch.no_grad():  # torch's attention takes another kernel where no weight wants a gradient
        before = model(**inputs)
        after = inject(model, AdapterConfig(after=BOTH))(**inputs)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    places = model.adapters.places.values()
    assert len(places) == 8
    assert {place.modality for place in places if place.name.startswith("visual")} == {"video"}
    assert all(place.causal == (not place.name.startswith("visual")) for place in places)
