"""The methods of peft as strategies, by the one strategy `peft`."""

import re
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from read.adapters import apply_strategy, get_strategy, load_adapter, match_budget, save_adapter, trainable_parameters
from read.adapters.io import WEIGHTS, backbone_digest
from read.adapters.places import trained_places
from read.adapters.wrapped import added_by_peft, original, peft_layer, without_peft
from read.errors import InputError

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of layers that a method of peft does not expect
PROMPTS = "adaption_prompt", "cartridge", "cpt", "multitask_prompt_tuning", "p_tuning", "prefix_tuning", "prompt_tuning"
REFUSED = {
    **dict.fromkeys(PROMPTS, "the strategy prompt does so"), "adalora": "call after every step",
    "poly": "task of every sample", "read": "take the strategy read", "shadow": "second language model",
    "trainable_tokens": "rows of a vocabulary", "xlora": "trained before",
    "frod": "peft refuses UniVTG",  # whose layers are of several widths
    **({} if find_spec("sklearn") else {"adamss": "scikit-learn"}),
}  # fmt: skip
ROUNDED = {"deft": 1e-6, "hra": 1e-6, "osf": 1e-6, "unilora": 1e-3, "vblora": 1e-3}  # far from the model at the start
TYPES = sorted({"dora", "rslora", *(str(kind.value).lower() for kind in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING)})


def made(univtg, kind, **options):
    return apply_strategy("peft", univtg(), type=kind, **options)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_trains_and_loads_or_is_refused(univtg, batch, awake, tmp_path, kind):
    if kind in REFUSED:
        with pytest.raises(InputError, match=REFUSED[kind]):
            made(univtg, kind)
        return
    plain = univtg()
    expected = plain(**batch)["spans"]
    torch.manual_seed(0)
    model = made(univtg, kind)
    with torch.no_grad():
        torch.testing.assert_close(model(**batch)["spans"], expected, rtol=0, atol=ROUNDED.get(kind, 0))
    awake(model, scale=0.1).train()(**batch)["spans"].square().sum().backward()
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert trained and all(value.grad is not None and value.grad.any() for value in trained.values())
    assert trained.keys() <= added_by_peft(model)
    assert backbone_digest(model) == backbone_digest(plain)
    save_adapter(model, tmp_path / "adapter")
    assert load_file(tmp_path / "adapter" / WEIGHTS).keys() >= trained.keys()
    torch.manual_seed(1)  # whatever a method draws by chance is saved, or drawn as before
    loaded = load_adapter(univtg(), tmp_path / "adapter")
    with torch.no_grad():
        answer = model.eval()(**batch)["spans"]
        assert torch.equal(loaded(**batch)["spans"], answer) and not torch.equal(answer, expected)


@pytest.mark.parametrize(("family", "kind"), [("bart", "ia3"), ("clip", "vera"), ("t5", "ln_tuning"), ("bert", "loha")])
def test_types_in_models_of_transformers(transformer, awake, tmp_path, family, kind):
    def answer(model):
        with torch.no_grad():
            output = model.eval()(**inputs)
        return output.text_embeds if family == "clip" else output.logits

    model, inputs = transformer(family)
    before = answer(model)
    apply_strategy("peft", model, type=kind)
    assert torch.equal(answer(model), before) and not torch.equal(answer(awake(model)), before)
    save_adapter(model, tmp_path / "adapter")
    assert torch.equal(answer(load_adapter(transformer(family)[0], tmp_path / "adapter")), answer(model))


def test_ia3_is_a_scale_of_what_layers_give_and_of_what_ends_a_feed_forward_block_takes(univtg, batch, awake):
    """Against a backbone with the vectors written into its weights."""
    model = awake(made(univtg, "ia3"), scale=0.2)
    scales = {original(name).partition(".ia3_l")[0]: value for name, value in model.named_parameters() if "ia3" in name}
    merged = univtg()
    ends = {name for name in scales if name.endswith("linear2")}
    assert len(ends) == 2 and len(scales) == 8
    with torch.no_grad():
        for name, scale in scales.items():
            layer = merged.get_submodule(name)
            layer.weight *= scale.view(1, -1) if name in ends else scale.view(-1, 1)
            layer.bias *= 1 if name in ends else scale.flatten()
    torch.testing.assert_close(model(**batch)["spans"], merged(**batch)["spans"], atol=1e-5, rtol=1e-5)


def test_layers_are_those_of_the_strategy_lora(univtg):
    def updated(model):
        return {original(name).partition(".lora_")[0] for name in trainable_parameters(model).names}

    for after in ((), ("feed_forward",), ("projection", "attention")):
        lora = updated(apply_strategy("lora", univtg(), after=after))
        assert updated(made(univtg, "rslora", after=after)) == lora
        attention = {name for name in lora if name.endswith("self_attn")}  # packed: no layer can stand around it
        assert updated(made(univtg, "dora", after=after)) == lora - attention
    assert trained_places(made(univtg, "loha", after=("feed_forward", "projection"))) == ["projection", "feed_forward"]
    assert trained_places(made(univtg, "ln_tuning")) == ["other"]
    with pytest.raises(InputError, match="type ia3: UniVTG has no linear layers that are not packed at attention"):
        made(univtg, "ia3", after="attention")
    with pytest.raises(InputError, match="type ln_tuning: Linear has no norms"):
        apply_strategy("peft", nn.Linear(3, 3), type="ln_tuning")


def test_layers_of_torch_that_look_at_weights_are_updated_as_well():
    """torch's fused layers would take the frozen weights, and say nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 24, batch_first=True), 2)).eval()
    tokens = torch.randn(2, 5, 16)
    apply_strategy("peft", model, type="ia3")
    with torch.no_grad():
        before = model(tokens)
        for name in trainable_parameters(model).names:
            model.get_parameter(name).mul_(1.5)
        assert not torch.allclose(model(tokens), before, atol=1e-3)


def test_options_are_the_methods_own(univtg):
    for options, reason in (
        ({"type": "ia4"}, "no type 'ia4'; did you mean ia3?"),
        ({"type": ["lora"]}, "which is no str"),
        ({"type": "fourierft", "n_frequencies": 3}, "no option 'n_frequencies'; did you mean n_frequency?"),
        ({"type": "vera", "r": 4}, "no option 'r'"),
        ({"type": "vera", "rank": "4"}, "rank is '4', which is no int"),
        ({"type": "loha", "rank": 0}, "rank is 0, but must be at least 1"),
        ({"type": "loha", "rank": 10**7}, "rank is 10000000; 1048576 is the most"),
        ({"type": "oft", "use_cayley_neumann": 1}, "use_cayley_neumann is 1, which is no bool"),
        ({"type": "boft", "boft_block_size": 5}, "must be divisible by boft_block_size (5)"),
        ({"type": "lora", "init_lora_weights": "pissa", "after": "feed_forward"}, "changes the backbone's own weights"),
        ({"type": "lora", "target_modules": "x"}, "no option 'target_modules'"),
    ):
        with pytest.raises(InputError, match=re.escape(reason)):
            apply_strategy("peft", univtg(), **options)
    assert get_strategy("peft").complete({}) == {
        **get_strategy("peft").of({"type": "lora"}).options,
        "train_head": False,
    }


@pytest.mark.parametrize(("kind", "size"), [("dora", "rank"), ("fourierft", "n_frequency"), ("shira", "rank")])
def test_budgets(univtg, kind, size):
    """The nearest; a size that is more than the narrowest layer takes is too large, and no mistake."""
    found = match_budget("peft", univtg(), 2500, type=kind)
    assert found.keys() == {"type", size}

    def distance(value):
        try:
            return abs(trainable_parameters(made(univtg, kind, **{size: value})).total - 2500)
        except InputError:
            return float("inf")

    assert distance(found[size]) <= min(distance(found[size] + 1), distance(found[size] - 1))
    with pytest.raises(InputError, match="strategy peft, type ia3, has no option that sets its size"):
        match_budget("peft", univtg(), 100, type="ia3")


def test_terms_of_an_entry_in_params(univtg):
    from pipeline.stages.train import terms

    train = SimpleNamespace(train_head=False, places=["feed_forward"], budget=700)
    entries = {"loha": {"method": "peft", "type": "loha"}, "ia3": {"method": "peft", "type": "ia3"}}
    settings = SimpleNamespace(strategies=entries, train=train)
    method, options, budget = terms("loha", settings, univtg())
    assert (method, budget, options["after"]) == ("peft", 700, ["feed_forward"])
    total = trainable_parameters(apply_strategy(method, univtg(), **options)).total
    assert abs(total - 700) <= 320  # half of what a rank is: two factors of each side of four layers
    method, options, budget = terms("ia3", settings, univtg())
    assert budget is None and trained_places(apply_strategy(method, univtg(), **options)) == ["feed_forward"]


def test_a_bundle_holds_what_can_be_checked_without_memory(univtg, tmp_path):
    from read.bundle.shapes import check_adapter

    univtg().save(tmp_path / "backbone")
    for kind in ("vera", "road"):
        save_adapter(made(univtg, kind), tmp_path / kind)
        check_adapter("grounding", tmp_path / "backbone", tmp_path / kind)
    save_adapter(made(univtg, "boft"), tmp_path / "boft")
    with pytest.raises(InputError, match="takes memory before it can be checked"):
        check_adapter("grounding", tmp_path / "backbone", tmp_path / "boft")


def test_a_model_without_its_layers_of_peft_for_a_while(univtg):
    names = [name for name, _ in univtg().named_modules()]
    model = made(univtg, "lora")
    inside = [name for name, _ in model.named_modules()]
    with without_peft(model):
        assert [name for name, _ in model.named_modules()] == names and peft_layer(model) is None
    assert [name for name, _ in model.named_modules()] == inside != names
