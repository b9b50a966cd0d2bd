import pytest
import torch

from read.adapters import (
    apply_strategy,
    get_strategy,
    match_budget,
    strategies,
    strategy_names,
    trainable_parameters,
)
from read.backbones.grounding.univtg import UniVTG, UniVTGConfig
from read.errors import InputError
from read.plugins import Plugins

PAPERS = {"full", "bias", "partial", "proj", "prompt", "lora", "adapter", "adaptformer", "st_adapter", "vl_adapter",
          "read", "read_paper", "read_pvla", "read_lora", "read_lora_control"}  # fmt: skip


def loss_of(outputs, batch):
    return outputs["spans"].square().sum() + outputs["scores"].sum() + outputs["states"]["text"].sum()


def test_all_are_there():
    assert set(strategy_names()) == PAPERS | {"peft"}  # of which test_adapter_peft.py
    assert [name for name in strategy_names() if get_strategy(name).alignment] == ["read_pvla"]
    assert all(get_strategy(name).description for name in strategy_names())


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_a_step_moves_what_trains_and_nothing_else(univtg, batch, name):
    model = apply_strategy(name, univtg()).train()
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):  # first only W_up of a bottleneck has a gradient, and a cell in a low-rank path last of all
        optimizer.zero_grad()
        loss_of(model(**batch), batch).backward()
        optimizer.step()
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    trained = set(trainable_parameters(model).names)
    assert moved <= trained
    assert len(moved) > 0.5 * len(trained)


@pytest.mark.parametrize("name", sorted(PAPERS - {"proj"}))
def test_train_head_adds_the_heads(univtg, name):
    without = set(trainable_parameters(apply_strategy(name, univtg())).names)
    added = set(trainable_parameters(apply_strategy(name, univtg(), train_head=True)).names) - without
    heads = {
        key for key, _ in univtg().named_parameters() if key.startswith(("span_embed", "class_embed", "weightedpool"))
    }
    assert added == heads - without


def test_what_trains(univtg):
    def names(*args, **options):
        return set(trainable_parameters(apply_strategy(*args, univtg(layers=3), **options)).names)

    everything = {name for name, _ in univtg(layers=3).named_parameters()}
    heads = {name for name in everything if name.startswith(("span_embed", "class_embed", "weightedpool"))}
    assert names("full") == everything - heads and names("full", train_head=True) == everything
    assert names("bias") == {name for name in everything - heads if name.endswith("bias")}
    assert names("partial", layers=2) == {name for name in everything if "layers.1." in name or "layers.2." in name} - {
        name for name in everything if name.startswith(("span_embed", "class_embed"))
    }
    assert names("proj") == {
        name for name in everything if name.startswith(("span_embed", "class_embed", "weightedpool"))
    }


def test_unknown_names_and_values_are_refused(univtg):
    with pytest.raises(InputError, match=r"no strategy 'red'; did you mean read"):
        apply_strategy("red", univtg())
    with pytest.raises(InputError, match=r"'ranks'; did you mean rank"):
        apply_strategy("lora", univtg(), ranks=4)
    with pytest.raises(InputError, match="rank is '4'"):
        apply_strategy("lora", univtg(), rank="4")
    with pytest.raises(InputError, match="rank is 0"):
        apply_strategy("lora", univtg(), rank=0)
    with pytest.raises(InputError, match="already has read"):
        apply_strategy("bias", apply_strategy("read", univtg()))
    with pytest.raises(InputError, match="changed the model's own weights"):
        apply_strategy("read", apply_strategy("bias", univtg()))


def test_nothing_to_train_is_refused():
    with pytest.raises(InputError, match="no linear layers"):
        apply_strategy("lora", torch.nn.LayerNorm(3))
    with pytest.raises(InputError, match="no attention that is known"):
        apply_strategy("prompt", torch.nn.Linear(3, 3))
    with pytest.raises(InputError, match="nothing would train"):
        apply_strategy("bias", torch.nn.Linear(3, 3, bias=False))
    with pytest.raises(InputError, match="nothing would train"):
        apply_strategy("proj", torch.nn.Linear(3, 3))


def test_a_new_strategy_is_one_file(univtg, tmp_path, monkeypatch):
    (tmp_path / "norms.py").write_text(
        "from read.adapters.registry import Strategy\n"
        "def _apply(model, options, adapter):\n"
        "    return [name for name, _ in model.named_parameters() if '.norm' in name]\n"
        "STRATEGY = Strategy('layer norms', 'LN tuning', _apply)\n"
    )
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path)])
    monkeypatch.setattr(Plugins, "folder", tmp_path)
    assert strategy_names() == ["norms"] and get_strategy("norms").name == "norms"
    assert all("norm" in name for name in trainable_parameters(apply_strategy("norms", univtg())).names)


def test_trainable_parameters_count(univtg):
    model = apply_strategy("adapter", univtg(), bottleneck=4)
    found = trainable_parameters(model)
    widths = [(12 + 2, 32, 2), (32, 32, 2), (8, 32, 2), (32, 32, 2), *[(32, 32, 4)] * 2]  # projections, feed-forward
    expected = sum(inputs * r + r + r * outputs + outputs for inputs, outputs, r in widths)
    assert found.total == sum(found.counts.values()) == expected
    assert found.share == pytest.approx(found.total / (sum(p.numel() for p in univtg().parameters()) + found.total))


@pytest.mark.parametrize("name", sorted(name for name in PAPERS if get_strategy(name).budget))
@pytest.mark.parametrize("n", [1, 2500, 7000])
def test_match_budget_is_the_nearest(univtg, name, n):
    model = univtg()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    options = match_budget(name, model, n)
    (size,) = options
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    def distance(value):
        return abs(trainable_parameters(apply_strategy(name, univtg(), **{size: value})).total - n)

    best = distance(options[size])
    assert best <= distance(options[size] + 1)
    assert options[size] == 1 or best <= distance(options[size] - 1)


def test_match_budget_goes_on_where_the_next_size_trains_as_much(univtg):
    """Beside the input projections a bottleneck of 1 and of 2 is 1 wide, half of either, rounded."""

    def count(size):
        return trainable_parameters(apply_strategy("read", univtg(), after=("projection",), bottleneck=size)).total

    assert count(1) == count(2) < count(4)
    size = match_budget("read", univtg(), count(20), after=("projection",))["bottleneck"]
    assert count(size) == count(20)


def test_read_at_the_published_size_is_less_than_a_megabyte():
    with torch.device("meta"):
        config = UniVTGConfig(video_dim=2816, text_dim=512)
        assert 4 * trainable_parameters(apply_strategy("read", UniVTG(config))).total < 1e6


def test_match_budget_needs_a_size(univtg):
    with pytest.raises(InputError, match="bias has no option"):
        match_budget("bias", univtg(), 100)


def test_lora_equals_peft(univtg, batch, awake):
    """The same linear layers wrapped by peft's own model, with the same weights."""
    from peft import LoraConfig, get_peft_model

    ours = awake(apply_strategy("lora", univtg(), rank=3, alpha=5))
    linear = [name for name, module in univtg().named_modules() if type(module) is torch.nn.Linear]
    packed = [f"transformer.encoder.layers.{i}.self_attn.in_proj_weight" for i in range(2)]
    config = LoraConfig(r=3, lora_alpha=5, target_modules=linear, target_parameters=packed)
    theirs = get_peft_model(univtg(), config).eval()
    state = {f"base_model.model.{key}": value for key, value in ours.state_dict().items()}
    theirs.load_state_dict(state, strict=True)
    expected, got = theirs(**batch), ours(**batch)
    torch.testing.assert_close(got["spans"], expected["spans"])
    assert not torch.allclose(got["spans"], univtg()(**batch)["spans"])


def test_lora_is_the_low_rank_update(univtg, batch, awake):
    """Against a backbone with W + alpha / rank * B A written into its weights."""
    ours = awake(apply_strategy("lora", univtg(), rank=3, alpha=6), scale=0.05)
    merged = univtg()
    with torch.no_grad():
        for name, weight in merged.named_parameters():
            path, _, last = name.rpartition(".")
            if last not in ("weight", "in_proj_weight"):
                continue
            module = ours if path not in dict(ours.named_modules()) else ours.get_submodule(path)
            if len(getattr(module, "lora_A", ())):
                down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
                weight += 2 * up @ down
    torch.testing.assert_close(ours(**batch)["spans"], merged(**batch)["spans"], atol=1e-5, rtol=1e-5)


def test_lora_at_some_places_only(univtg):
    def updated(after):
        names = trainable_parameters(apply_strategy("lora", univtg(), after=after)).names
        return {name.replace("base_layer.", "").partition(".lora_")[0] for name in names}

    layers = [f"transformer.encoder.layers.{i}" for i in range(2)]
    assert updated("feed_forward") == {f"{layer}.linear{n}" for layer in layers for n in (1, 2)}
    assert updated(["attention"]) == {f"{layer}.self_attn" for layer in layers}
    with pytest.raises(InputError, match=r"after 'atention' is none of .*; did you mean attention"):
        updated(["atention"])
    with pytest.raises(InputError, match="UniVTG has no linear layers at joint"):
        updated("joint")


def test_lora_leaves_frozen_weights_as_they_are(univtg, batch, awake):
    model = awake(apply_strategy("lora", univtg())).train()
    for _ in range(5):
        model(**batch)["spans"].sum().backward()
    kept = {key.replace(".base_layer", ""): value for key, value in model.state_dict().items() if ".lora_" not in key}
    assert all(torch.equal(value, kept[key]) for key, value in univtg().state_dict().items())


def test_prompts_are_tokens_that_the_layers_drop(univtg, batch):
    """Against layers run by hand with the prompts in front of the tokens and cut off after each layer."""
    model = apply_strategy("prompt", univtg(), tokens=3)
    seen = []
    for i in range(2):
        layer = model.transformer.encoder.layers[i]
        layer.register_forward_hook(lambda module, args, output: seen.append((args, output)))
    model(**batch)
    plain = univtg()
    for i, ((tokens, position, mask), output) in enumerate(seen):
        prompts = model.prompts[f"transformer/encoder/layers/{i}/self_attn"].tokens.expand(3, -1, -1)
        tokens = torch.cat((prompts, tokens), dim=1)
        position = torch.cat((torch.zeros_like(prompts), position), dim=1)
        mask = torch.cat((torch.ones(3, 3, dtype=torch.bool), mask), dim=1)
        by_hand = plain.transformer.encoder.layers[i](tokens, position, mask)[:, 3:]
        torch.testing.assert_close(output, by_hand, atol=1e-5, rtol=1e-5)


def test_lora_goes_into_torchs_own_encoder():
    """Whose layers read some of what they call, and in evaluation would rather compute with the weights themselves."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    tokens = torch.randn(2, 5, 16)
    plain = model(tokens)
    apply_strategy("lora", model)
    assert torch.equal(model(tokens), plain)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "self_attn" in name:
            torch.nn.init.normal_(parameter)
    trained = model.train()(tokens)
    assert (trained - plain).abs().max() > 0.1
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(tokens), trained)
