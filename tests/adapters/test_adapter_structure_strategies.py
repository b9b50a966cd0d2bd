"""The other placements and strategies in families that structure finds, and models that it refuses."""

import pytest
import torch
from torch import nn

from read.adapters import AdapterConfig, apply_strategy, inject, match_budget, merge, trainable_parameters
from read.adapters.structure import find_layers
from read.adapters.sub_blocks import find_places
from read.errors import InputError
from tests.adapters import zoo
from tests.adapters.test_adapter_structure import BOTH, answer, apart, given, tokens

hf = pytest.importorskip("transformers")
WAYS = [
    ("read_lora", {"after": BOTH}),
    ("adaptformer", {"after": BOTH}),
    ("lora", {"after": "attention"}),
    ("prompt", {}),
    ("bias", {}),
]
REFUSED = {
    ("gpt2", "prompt"): "no attention that is known to take prompts",  # which a cache would have to hold
    ("gemma3", "prompt"): "no attention that is known to take prompts",
    ("albert", "prompt"): "no attention that is known to take prompts",  # it ends in its residual
    ("xlm", "prompt"): "no attention that is known to take prompts",  # it is called in a way of its own
    ("swin", "prompt"): "no attention that is known to take prompts",  # it counts places in a window
    ("gemma3", "bias"): "nothing would train",
    ("qwen2_moe", "prompt"): "no attention that is known to take prompts",
    ("qwen2_moe", "read_lora"): "an expert sees some only",
}


SEVERAL = [
    "gpt2",
    "gemma3",
    "qwen2_moe",
    "roberta",
    "xlm",
    "albert",
    "dinov2",
    "timesformer",
    "swin",
    "wav2vec2 stable",
]


@pytest.mark.parametrize("name", SEVERAL)
def test_strategies_work_or_say_why_not(awake, name):
    for strategy, options in WAYS:
        model = zoo.make(name)
        inputs = given(name, model)
        plain = answer(model, inputs)
        if (reason := REFUSED.get((name, strategy))) is not None:
            with pytest.raises(InputError, match=reason):
                apply_strategy(strategy, model, **options)
            continue
        sized = options if strategy == "bias" else match_budget(strategy, model, 600, **options)
        apply_strategy(strategy, model, **sized)
        assert strategy == "prompt" or torch.equal(answer(model, inputs), plain)
        assert strategy == "bias" or 300 <= trainable_parameters(model).total <= 900
        awake(model)
        tokens(model(**inputs)).square().sum().backward()
        idle = {key for key, value in model.named_parameters() if value.requires_grad and value.grad is None}
        assert all("pooler" in key for key in idle)  # which does not lead to the tokens
        assert not torch.allclose(answer(model, inputs), plain)
        assert apart(name, model, "right") < 1e-4


def test_an_update_beside_the_transposed_weights_of_gpt2_is_merged(awake):
    model = zoo.make("gpt2")
    inputs = given("gpt2", model)
    plain = answer(model, inputs)
    awake(apply_strategy("read_lora_control", model))
    adapted = answer(model, inputs)
    assert not torch.allclose(adapted, plain, atol=1e-2)
    torch.testing.assert_close(answer(merge(model), inputs), adapted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "opt", "vivit", "qwen2_vl"])
def test_layers_that_are_computed_again_give_the_same_gradients(awake, name):
    gradients = []
    for again in (False, True):
        model = zoo.make(name)
        inputs = given(name, model)
        awake(inject(model, AdapterConfig(bottleneck=4, after=BOTH)))
        for module in model.modules():
            for part, value in vars(module).items():
                if "dropout" in part and isinstance(value, float):
                    setattr(module, part, 0.0)
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        if again:
            model.gradient_checkpointing_enable()
        tokens(model.train()(**inputs)).square().sum().backward()
        gradients.append({key: value.grad for key, value in model.adapters.named_parameters()})
    torch.testing.assert_close(*gradients)


def test_linear_layers_of_a_library_that_quantises_are_linear_layers():
    model = zoo.make("llama")
    wanted = find_places(model, AdapterConfig(after=BOTH))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.__class__ = type("Linear8bitLt", (nn.Linear,), {"__module__": "bitsandbytes.nn"})
    assert find_places(model, AdapterConfig(after=BOTH)) == wanted


KNOWN = ["bart", "pegasus", "t5", "bert", "videomae"]


@pytest.mark.parametrize("name", KNOWN)
def test_structure_agrees_with_what_is_known_by_name(name):
    """Where both say where feed-forward and attention blocks end, and which layers are causal."""
    model = zoo.make(name)
    known = {(p.name, p.entry, p.causal) for p in find_places(model, AdapterConfig(after="feed_forward"))}
    ends = {p.name for p in find_places(model, AdapterConfig(after="attention"))}
    found = [(block, layers.causal) for layers in find_layers(model) for block in layers.blocks]
    assert {(b.end, b.entry, causal) for b, causal in found if b.kind == "feed_forward"} == known
    if name == "videomae":  # whose attention gives what its output layer gives
        ends = {end.removesuffix(".output.dense") for end in ends}
    assert {b.end for b, _ in found if b.kind == "attention"} == ends


class Functional(nn.Module):
    """A layer whose feed-forward block ends in a function that is no module's."""

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.attn.is_causal = False
        self.mlp = nn.Linear(8, 8)

    def forward(self, hidden_states):
        hidden_states = hidden_states + self.attn(hidden_states, hidden_states, hidden_states)[0]
        return hidden_states + torch.softmax(self.mlp(hidden_states), -1)


class Stack(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layers = nn.ModuleList([layer()])

    def forward(self, pixel_values):
        for layer in self.layers:
            pixel_values = layer(pixel_values)
        return pixel_values


REFUSALS = {
    "softmax": (lambda: Stack(Functional), {}, r"layers.0 is no module's output, but made of what mlp gives; "),
    "perm_mask": (lambda: hf.XLNetModel(hf.XLNetConfig(vocab_size=60, d_model=16, n_layer=1, n_head=2, d_inner=24)), {},
                  r"layer.\* \(XLNetLayer\) .* cannot be read from the source: its calls may say by perm_mask"),
    "causal": (lambda: hf.RwkvModel(hf.RwkvConfig(vocab_size=60, hidden_size=16, num_hidden_layers=2)), {},
               "nothing says whether its tokens see later ones"),
    "mask": (lambda: hf.LxmertModel(hf.LxmertConfig(
        vocab_size=60, hidden_size=16, num_attention_heads=2, intermediate_size=24, l_layers=1, x_layers=1, r_layers=1,
        visual_feat_dim=8)), {}, "lang_attention_mask is no mask that can be read"),
    "added to what a scan reads": (lambda: hf.Zamba2Model(hf.Zamba2Config(**{
        key: value for key, value in zoo.LANGUAGE.items() if key != "head_dim"}, mamba_d_state=4, n_mamba_heads=4,
        mamba_headdim=8, mamba_ngroups=1, chunk_size=4, layers_block_type=["mamba", "hybrid"], num_mem_blocks=1)), {},
        r"layers.1.linear has a part in none of the sub-blocks"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_cannot_be_read_is_refused_with_what_was_seen(kind):
    make, settings, message = REFUSALS[kind]
    with pytest.raises(InputError, match=message):
        inject(make(), AdapterConfig(**settings))


def test_tokens_whose_first_axis_is_time_are_refused():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.linear = nn.Embedding(9, 8), nn.Linear(8, 8)

        def forward(self, input_ids, attention_mask=None):
            return self.linear(self.embed(input_ids).transpose(0, 1))

    model = inject(TimeFirst(), AdapterConfig(targets="linear"))
    with pytest.raises(InputError, match=r"linear: its tokens are \(T, B, d\), \(5, 2, 8\)"):
        model(torch.ones(2, 5, dtype=torch.long))
