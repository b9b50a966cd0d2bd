"""READ inside video-language models: small random ones of four families, with their own processors."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from read.adapters import (
    AdapterConfig,
    activate,
    alignment_states,
    apply_strategy,
    deactivate,
    inject,
    load_adapter,
    save_adapter,
)
from read.alignment import Alignment
from read.errors import InputError
from tests import video_models as vlm

pytest.importorskip("transformers")
pytest.importorskip("torchvision")
pytest.importorskip("num2words")  # the processor of SmolVLM says how many frames there are

DECODER = ("*_model.layers.*.mlp",)
QUESTIONS = ["Which colour came first?", "When?"]
VIDEO = {"smolvlm": "<image>", "llava_next_video": "<video>"}  # the token that stands for a part of a frame
PLACES = 4  # of a frame, in all four


@pytest.fixture(scope="module")
def cases():
    """By kind: a model, two videos, and what the processor makes of them; the second is padded."""
    made = {}

    def case(kind):
        if kind not in made:
            frames = (6, 6) if kind == "llava_next_video" else (6, 4)  # LLaVA's are as many
            videos = [vlm.clip(count, seed) for seed, count in enumerate(frames)]
            made[kind] = vlm.make_model(kind), videos, vlm.batch_of(vlm.make_processor(kind), videos, QUESTIONS)
        model, videos, batch = made[kind]
        return copy.deepcopy(model), videos, dict(batch)

    return case


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


def is_video(kind, ids):
    token = VIDEO.get(kind, "<|video_pad|>")
    return ids == vlm.tokenizer_of().convert_tokens_to_ids(token)


@pytest.mark.parametrize("kind", vlm.KINDS)
def test_untrained_is_bit_identical_and_a_padded_batch_gives_what_each_gives_alone(cases, awake, kind):
    model, videos, batch = cases(kind)
    plain = logits(model, batch)
    inject(model)  # in the tower of pictures as well
    assert torch.equal(logits(model, batch), plain)
    assert len(model.adapters.places) == 4
    awake(model)
    together = logits(model, batch)
    assert (together - plain).abs().max() > 0.1
    for index in range(2):
        alone = logits(model, vlm.sample_of(kind, batch, index, videos))[0]
        torch.testing.assert_close(together[index, -len(alone) :], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", vlm.KINDS)
def test_a_place_is_a_sequence_over_time_and_words_are_one_of_their_own(cases, kind):
    """Against a recurrence that is run over each sequence by itself."""
    model, _, batch = cases(kind)
    inject(model, AdapterConfig(mixer="rnn", bottleneck=6, targets=DECODER))
    (name, *_), seen = model.adapters["default"], {}
    layer = model.adapters["default"][name]
    nn.init.normal_(layer.up.weight)
    layer.register_forward_hook(lambda module, args, output: seen.update(tokens=args[0], delta=output.delta))
    logits(model, batch)
    z = layer.down(seen["tokens"])
    h = torch.zeros_like(z)
    for row, real in enumerate(batch["attention_mask"].bool()):
        video = is_video(kind, batch["input_ids"][row]) & real
        frames = video.nonzero()[:, 0].view(-1, PLACES)
        for sequence in (*frames.T, (real & ~video).nonzero()[:, 0]):
            assert len(sequence) > 1
            h[row, sequence] = layer.mixer.cell(z[row, sequence][None])[0][0]
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(seen["delta"][real], layer.up(F.gelu(z + h))[real], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", vlm.KINDS)
def test_a_later_frame_changes_no_earlier_state(cases, awake, kind):
    model, videos, batch = cases(kind)
    awake(inject(model, AdapterConfig(targets=DECODER)))
    other = [np.concatenate((videos[0][:4], vlm.clip(2, 9))), videos[1]]
    changed = vlm.batch_of(vlm.make_processor(kind), other, QUESTIONS)
    before, after = logits(model, batch)[0], logits(model, changed)[0]
    last = is_video(kind, batch["input_ids"][0]).nonzero()[:, 0][4 * PLACES if kind in VIDEO else 2 * PLACES]
    assert torch.equal(before[:last], after[:last])
    assert not torch.allclose(before[last:], after[last:])


@pytest.mark.parametrize("kind", vlm.KINDS)
@pytest.mark.parametrize("mixer", ["gru", "conv", "ema"])
def test_cached_generation_goes_on_with_the_words(cases, awake, kind, mixer):
    model, _, batch = cases(kind)
    awake(inject(model, AdapterConfig(mixer=mixer))).double()
    marks = vlm.tokenizer_of().convert_tokens_to_ids(list(vlm.MARKS))  # read again, one is a picture that is not there
    length = {"max_new_tokens": 6, "min_new_tokens": 6, "suppress_tokens": marks}
    ways = [{"num_beams": 3}] if mixer != "gru" else [{}, {"num_beams": 3}, {"do_sample": True}]
    for way in ways:
        said = []
        for cached in (True, False):
            torch.manual_seed(0)
            made = model.generate(**vlm.doubled(batch), use_cache=cached, **{"do_sample": False} | length | way)
            said.append(made)
        assert torch.equal(*said), way


def test_a_picture_token_that_the_model_writes_is_a_word(cases, awake):
    model, _, batch = cases("qwen2_5_vl")
    awake(inject(model, AdapterConfig(targets=DECODER)))
    words = batch["input_ids"][:1, -6:].clone()
    words[0, 3] = model.config.video_token_id
    whole = logits(model, {"input_ids": words})
    with torch.no_grad():
        cache = model(input_ids=words[:, :3], use_cache=True).past_key_values
        rest = model(input_ids=words[:, 3:], past_key_values=cache).logits
    torch.testing.assert_close(rest, whole[:, 3:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", vlm.KINDS)
def test_video_is_aligned_with_the_words_of_the_prompt(cases, kind):
    model, _, batch = cases(kind)
    apply_strategy("read_pvla", model)
    batch["labels"] = torch.full_like(batch["input_ids"], -100)
    batch["labels"][:, -3:] = batch["input_ids"][:, -3:]
    (model(**batch).loss + Alignment()(model)).backward()
    assert all(part.grad is not None for part in model.adapters.parameters())
    layers = alignment_states(model)
    assert len(layers) == model.config.text_config.num_hidden_layers
    for states in layers:
        for row, ids in enumerate(batch["input_ids"]):
            real = batch["attention_mask"][row].bool()
            video = is_video(kind, ids) & real
            assert states.video_mask[row].sum() == video.sum()
            places = video.nonzero()[:, 0]
            prompt = [
                number for number in real.nonzero()[:, 0].tolist()[:-3]
                if not places[0] <= number <= places[-1] and (kind == "smolvlm" or ids[number] >= len(vlm.MARKS))
            ]  # fmt: skip
            marks = {model.config.text_config.bos_token_id, model.config.text_config.eos_token_id}
            prompt = [number for number in prompt if ids[number].item() not in marks]
            assert states.text_mask[row].sum() == len(prompt)
    batch["labels"] = batch["input_ids"].clone()
    model(**batch)
    with pytest.raises(InputError, match="sample 0 of the batch has no text tokens; labels are -100"):
        alignment_states(model)


def test_what_tells_frames_from_words_has_to_be_there_and_to_fit(cases, awake):
    model, _, batch = cases("qwen3_vl")
    inject(model, AdapterConfig(targets=DECODER))
    with pytest.raises(InputError, match="outside the forward call of the model, whose token ids alone tell"):
        model.model.language_model(inputs_embeds=torch.randn(1, 5, 32))
    inject(model, AdapterConfig(mixer="none", targets=DECODER), "plain")
    model.model.language_model(inputs_embeds=torch.randn(1, 5, 32))  # which nothing has to be told
    activate(model, "default")
    grid = batch["video_grid_thw"].clone()
    grid[0, 0] += 1
    with pytest.raises(InputError, match="20 tokens of videos in input_ids, but what is told of their frames is of 24"):
        model(**batch | {"video_grid_thw": grid})
    model, _, batch = cases("smolvlm")
    awake(inject(model, AdapterConfig(targets=DECODER)))
    with torch.no_grad():
        cache = model(**batch, use_cache=True).past_key_values
        again = batch | {"past_key_values": cache, "attention_mask": None}
        with pytest.raises(InputError, match="pictures in a call that goes on from a cache"):
            model(**again)
        deactivate(model)
        model(**again)  # as the plain model does


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "smolvlm"])
def test_embeddings_in_the_place_of_ids_tell_as_well(cases, awake, kind):
    model, _, batch = cases(kind)
    batch.pop("mm_token_type_ids", None)
    awake(inject(model, AdapterConfig(targets=DECODER)))
    by_ids = logits(model, batch)
    embedded = model.get_input_embeddings()(batch.pop("input_ids")).detach()
    torch.testing.assert_close(logits(model, batch | {"inputs_embeds": embedded}), by_ids)


@pytest.mark.parametrize("kind", vlm.KINDS)
def test_checkpointed_gradients_are_the_same(cases, awake, kind):
    model, _, batch = cases(kind)
    awake(inject(model), scale=0.1)
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model.train()(**batch, labels=batch["input_ids"]).loss.backward()
        gradients.append([part.grad.clone() for part in model.adapters.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize("base", ["bf16", pytest.param("int8", marks=pytest.mark.cluster)])
def test_a_small_base_trains_and_is_saved(cases, tmp_path, base):
    def make():
        model, _, _ = cases("qwen2_5_vl")
        if base == "bf16":
            return model.bfloat16()
        ao = pytest.importorskip("torchao.quantization")
        linear = lambda module, name: isinstance(module, nn.Linear) and "language_model" in name  # noqa: E731
        ao.quantize_(model, ao.Int8WeightOnlyConfig(), filter_fn=linear)
        return model

    _, _, batch = cases("qwen2_5_vl")
    model = make()
    plain = logits(model, batch)
    inject(model)
    assert torch.equal(logits(model, batch), plain)
    optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=1e-2)
    losses = []
    for _ in range(4):
        loss = model.train()(**batch, labels=batch["input_ids"]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    save_adapter(model, tmp_path / "adapter")
    again = make()
    load_adapter(again, tmp_path / "adapter")
    assert torch.equal(logits(again.eval(), batch), logits(model.eval(), batch))


def make_colours(processor, count):
    """Videos of one colour and then another, and which came first; every second one is another turned round."""
    generator, colours = np.random.default_rng(count), {" red": (210, 40, 40), " blue": (40, 40, 210)}
    videos, first = [], []
    for number in range(count):
        names = list(colours)[:: 1 if number % 2 else -1]
        frames = np.repeat([colours[name] for name in names], 2, axis=0)[:, None, None]
        noise = generator.normal(0, 20, (4, vlm.SIDE, vlm.SIDE, 3))
        videos.append((frames + noise).clip(0, 255).astype(np.uint8))
        first.append(processor.tokenizer(names[0] + "<|im_end|>")["input_ids"])
    return dict(vlm.batch_of(processor, videos, QUESTIONS[:1] * count)), torch.tensor(first)


@pytest.mark.parametrize("kind", vlm.KINDS)
def test_the_order_of_frames_is_learned_and_kept(cases, tmp_path, kind):
    mixer = "gru" if kind == "qwen2_5_vl" else "ema"  # which is the faster one
    processor = vlm.make_processor(kind)
    (batch, first), (others, truth) = (make_colours(processor, count) for count in (16, 12))
    model, *_ = cases(kind)
    torch.manual_seed(0)
    inject(model, AdapterConfig(mixer=mixer, targets=DECODER))
    optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=2e-2)
    prompt = batch["input_ids"]
    written = {"input_ids": first, "attention_mask": first != 0, "mm_token_type_ids": 0 * first}
    batch |= {name: torch.cat((batch[name], written[name]), dim=1) for name in written if name in batch}
    batch["labels"] = torch.cat((torch.full_like(prompt, -100), first), dim=1)
    for _ in range(60):
        loss = model.train()(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def said(model):
        made = model.eval().generate(**others, num_beams=3, do_sample=False, max_new_tokens=4)
        return made[:, prompt.shape[1] :]

    assert torch.equal(said(model)[:, : truth.shape[1]], truth)
    save_adapter(model, tmp_path)
    again = cases(kind)[0]
    load_adapter(again, tmp_path)
    assert torch.equal(said(again), said(model))


def test_samples_that_are_packed_into_one_row_are_refused(cases):
    """As collators for attention without padding do it."""
    model, _, batch = cases("qwen3_vl")
    inject(model)
    words = batch["input_ids"][:, -6:].reshape(1, -1)
    positions = torch.arange(6).repeat(2)[None]
    model(input_ids=words, position_ids=torch.arange(12)[None])
    with pytest.raises(InputError, match="position_ids or cu_seqlens say that a row is several samples"):
        model(input_ids=words, position_ids=positions)
    model(
        input_ids=words, position_ids=positions, attention_mask=torch.ones_like(words)
    )  # then nobody takes them apart
    inject(model, AdapterConfig(mixer="none"), "plain")
    model(input_ids=words, position_ids=positions)
