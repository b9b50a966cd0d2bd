"""UMT as strategies see it, beside what holds of every backbone: blocks, heads, alignment, prompts."""

import pytest
import torch

from read.adapters import alignment_states, apply_strategy, trainable_parameters
from read.adapters.sub_blocks import self_attentions
from read.alignment import Alignment
from read.errors import InputError
from tests.backbones.narrow_umt import build, make_batch, run
from tests.backbones.reference import INPUTS, LENGTHS, WORDS

batch = pytest.fixture(make_batch)


def test_blocks_are_what_joins_the_residual(batch):
    model = build().eval()
    cross, decoder = "cross_enc.encoder.encoder.0", [f"query_dec.decoder.{index}" for index in range(3)]
    assert list(model.feed_forward_blocks()) == [
        "video_enc.encoder.ffn", "audio_enc.encoder.ffn", f"{cross}.ffn1", f"{cross}.ffn2",
        *(f"{layer}.ffn" for layer in decoder),
    ]  # fmt: skip
    assert list(model.attention_blocks()) == [
        "video_enc.encoder.att", "audio_enc.encoder.att", *(f"{cross}.att{index}" for index in range(1, 5)),
        *(f"{layer}.att{index}" for layer in decoder for index in (1, 2)),
    ]  # fmt: skip
    seen, entered = {}, {}
    for name, block in (model.feed_forward_blocks() | model.attention_blocks()).items():
        block.register_forward_hook(lambda module, args, output, name=name: seen.update({name: (args[0], output)}))
    layers = {name: model.get_submodule(name) for name in ("video_enc.encoder", decoder[-1])}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda module, args, output, name=name: entered.update({name: (args[0], output)}))
    run(model, batch)
    tokens, left = entered["video_enc.encoder"]
    between = tokens + seen["video_enc.encoder.att"][1][0]
    normed, added = seen["video_enc.encoder.ffn"]
    torch.testing.assert_close(normed, layers["video_enc.encoder"].norm2(between))
    torch.testing.assert_close(left, between + added)
    tokens, left = entered[decoder[-1]]
    between = tokens + seen[f"{decoder[-1]}.att1"][1][0] + seen[f"{decoder[-1]}.att2"][1][0]
    torch.testing.assert_close(left, between + seen[f"{decoder[-1]}.ffn"][1])


def test_heads():
    assert trainable_parameters(apply_strategy("proj", build())).total == 4 * (16 + 1)


def test_alignment_takes_the_mappings_of_video_and_words(batch):
    model, entered = apply_strategy("read_pvla", build()), {}
    for name, linear in model.projection_blocks().items():
        linear.register_forward_pre_hook(lambda module, args, name=name: entered.update({name: args[0]}))
    model(*(batch[name] for name in INPUTS), audio=batch["audio"])
    (states,) = alignment_states(model)
    for state, part in ((states.video, "video_enc"), (states.text, "query_gen")):
        name = f"{part}.mapping.linear"
        assert torch.equal(state, model.adapters["default"][name.replace(".", "/")].down(entered[name]))


def test_alignment_takes_the_states_where_no_layer_holds_words(batch):
    model = apply_strategy("read_pvla", build(), after="feed_forward")
    outputs = model(*(batch[name] for name in INPUTS), audio=batch["audio"])
    with pytest.raises(InputError, match=r"text states depend on nothing that trains.*projection"):
        Alignment()(model)
    (states,) = alignment_states(model)
    assert states.video is outputs["states"]["video"] and states.text is outputs["states"]["text"]
    assert torch.equal(states.video_mask, batch["video_mask"]) and torch.equal(states.text_mask, batch["text_mask"])
    assert states.text.shape == (3, max(WORDS), 16)
    silent = apply_strategy("read_pvla", build(text_dim=0))
    silent(*(batch[name] for name in INPUTS), audio=batch["audio"])
    with pytest.raises(InputError, match="no states to align"):
        alignment_states(silent)


@pytest.mark.parametrize("after", [("feed_forward",), ("attention", "feed_forward")])
@pytest.mark.parametrize("strategy", ["read", "st_adapter"])
def test_adapters_do_not_see_padding(batch, strategy, after):
    """With as many bottleneck tokens, of which none is padding, as clips."""
    model = apply_strategy(strategy, build(bottlenecks=max(LENGTHS)).eval(), after=after)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    together = run(model, batch)["spans"]
    for index, (clips, words) in enumerate(zip(LENGTHS, WORDS, strict=True)):
        cut = {"video": clips, "video_mask": clips, "audio": clips, "text": words, "text_mask": words}
        alone = run(model, {name: batch[name][index : index + 1, :stop] for name, stop in cut.items()})
        torch.testing.assert_close(together[index, :clips], alone["spans"][0], atol=1e-5, rtol=1e-5)


def test_every_attention_takes_prompts():
    found = self_attentions(build())
    assert set(found) == {*build().attention_blocks(), "query_gen.encoder"} and set(found.values()) == {16}
