"""What holds of every backbone there is, whatever its making: a new one is tested by its name alone."""

import copy

import pytest
import torch

from read.adapters import alignment_states, apply_strategy, get_strategy, strategy_names, trainable_parameters
from read.adapters.config import SUB_BLOCKS
from read.adapters.peft_layers import linear_layers
from read.adapters.places import trained_places
from read.adapters.sub_blocks import head_parameters
from read.alignment import Alignment
from read.backbones import backbone_names, load_backbone
from read.errors import InputError
from tests.backbones.narrow import build, cut, forward, make_batch, run, tensors, wake
from tests.backbones.narrow_umt import VARIANTS
from tests.backbones.reference import LENGTHS, WORDS

SAID = ("spans", "scores", "saliency")
HALVES = [torch.bfloat16, torch.float16]
CASES = {name: (name, {}) for name in backbone_names()}
CASES |= {f"umt {variant}": ("umt", settings) for variant, settings in VARIANTS.items() if settings}
CASES["umt short"] = ("umt", {"positions": 5})
NOT_IDENTICAL_AT_START = {"prompt"}
PLACELESS = {"joint": {"partial", "prompt", "proj"}}  # strategies for which a backbone has no place
ONE_SIDED = {"joint"}  # whose sentences come as they are from the encoder
PROJECTED = {"input_vid_proj": ["video"], "input_txt_proj": ["text"]}
MODALITIES = {  # of the segments, by the prefix of the layers
    "univtg": {**PROJECTED, "transformer.encoder": ["video", "text"]},
    "moment_detr": {
        **PROJECTED, "transformer.encoder": ["video", "text"], "transformer.decoder": ["queries"],
    },
    "demaformer": {
        "video_proj": ["video"], "text_proj": ["text"], "encoder": ["video", "text"], "decoder": ["video"],
    },
    "qd_detr": {
        **PROJECTED,
        "transformer.t2v_encoder": ["video"],
        "transformer.encoder": ["global", "video"],
        "transformer.decoder": ["queries"],
    },
    "umt": {
        "video_enc": ["video"], "audio_enc": ["audio"], "query_gen.mapping": ["text"], "query_dec": ["video"],
        **{f"cross_enc.encoder.encoder.0.{part}": [modality] for part, modality in {
            "att1": "bottleneck", "att2": "bottleneck", "att3": "video", "ffn1": "video", "att4": "audio",
            "ffn2": "audio"}.items()},
    },
}  # fmt: skip


@pytest.fixture(params=backbone_names())
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return build(name)


@pytest.fixture
def batch(name):
    return make_batch(name)


def assert_padding_changes_nothing(model, batch, noisy):
    """A batch gives what each of its samples gives alone, whatever stands in the padding."""
    together = run(model, noisy)
    for sample, (clips, words) in enumerate(zip(LENGTHS, WORDS, strict=True)):
        alone = run(model, cut(batch, sample))
        for key in SAID:
            stop = clips if model.dense or key == "saliency" else None
            torch.testing.assert_close(together[key][sample, :stop], alone[key][0], atol=1e-5, rtol=1e-5)
        for key, states in alone["states"].items():
            got = together["states"][key][sample, : {"video": clips, "text": words}[key]]
            torch.testing.assert_close(got, states[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_padding_changes_nothing(case):
    name, settings = CASES[case]
    batch = make_batch(name)
    masks = {"video": "video_mask", "audio": "video_mask", "text": "text_mask"}
    noise = {key: torch.where(batch[mask][..., None], batch[key], 7.0) for key, mask in masks.items() if key in batch}
    assert_padding_changes_nothing(build(name, **settings).eval(), batch, batch | noise)


@pytest.mark.parametrize("strategy", ["prompt", "lora", "adapter", "st_adapter", "read"])
def test_padding_changes_nothing_with_a_trained_strategy(name, batch, strategy):
    if strategy in PLACELESS.get(name, ()):
        return
    assert_padding_changes_nothing(wake(apply_strategy(strategy, build(name))).eval(), batch, batch)


def is_real(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point()


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_stops_before_the_losses(model, batch, dtype):
    model.eval()
    with torch.autocast("cpu", dtype):
        halved = tensors(run(model, batch))
    whole = tensors(run(model, batch))
    assert halved.keys() >= set(SAID)
    for key, value in halved.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, whole[key], atol=0.05, rtol=0.05)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_trains(model, batch, dtype):
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype, enabled=enabled):
            losses = model.losses(forward(model, batch), batch)
        assert all(value.dtype == torch.float32 for value in losses.values())
        sum(losses.values()).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert gradients[1].isfinite().all()
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize("dtype", HALVES)
def test_a_whole_model_in_half_precision(model, batch, dtype):
    expected = run(model.eval(), batch)
    halves = {key: value.to(dtype) if is_real(value) else value for key, value in batch.items()}
    got = run(model.to(dtype), halves)
    for key in SAID:
        torch.testing.assert_close(got[key].float(), expected[key], atol=0.05, rtol=0.05)


def test_gradient_reaches_everything(model, batch):
    sum(model.train().losses(forward(model, batch), batch).values()).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


def test_nothing_to_find_is_no_nan(model, batch):
    labels = {"windows_mask", "foreground", "spans", "saliency", "relevant"}
    losses = model.losses(forward(model, batch), batch | {key: torch.zeros_like(batch[key]) for key in labels})
    assert all(torch.isfinite(value) for value in losses.values())
    none = {"span", "giou", "saliency_intra", "saliency_inter", *([] if model.dense else ["saliency"])}
    for key in none & losses.keys():
        assert losses[key] == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


def test_segments_cover_what_each_block_gives(name, model, batch):
    found = model.eval().segments(batch["video_mask"], batch["text_mask"])
    found = found if isinstance(found, dict) else {"": found}
    shapes = {}
    projections, joint = model.projection_blocks(), model.joint_blocks()
    blocks = model.feed_forward_blocks() | model.attention_blocks() | projections | joint
    assert all(isinstance(block, torch.nn.Linear) for block in (projections | joint).values())
    for place, block in blocks.items():
        assert model.get_submodule(place) is block

        def note(module, args, output, place=place):
            shapes[place] = (output[0] if isinstance(output, tuple) else output).shape

        block.register_forward_hook(note)
    run(model, batch)
    assert shapes.keys() == blocks.keys()
    for place, shape in shapes.items():
        (segments,) = (of for prefix, of in found.items() if not prefix or f"{place}.".startswith(f"{prefix}."))
        assert [0, *(segment.stop for segment in segments)] == [*(segment.start for segment in segments), shape[1]]
        for segment in segments:
            assert segment.mask.shape == (3, segment.stop - segment.start)
            if segment.modality in ("video", "text"):
                assert torch.equal(segment.mask, batch[f"{segment.modality}_mask"])
    told = {prefix: [segment.modality for segment in segments] for prefix, segments in found.items()}
    assert told == MODALITIES.get(name, told) and any("video" in of for of in told.values())


def test_heads_are_prefixes_of_parameters(model):
    names = [key for key, _ in model.named_parameters()]
    assert all(any(key.startswith(f"{head}.") for key in names) for head in model.heads())


def test_a_copy_has_blocks_of_its_own(model, batch):
    twin = copy.deepcopy(model).eval()
    before = run(twin, batch)["scores"]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(run(twin, batch)["scores"], before)


@pytest.mark.parametrize("strategy", sorted({*strategy_names()} - {"peft"}))  # lora, by another name
@pytest.mark.parametrize("case", CASES)
def test_every_strategy_starts_where_the_model_is_and_trains(case, strategy):
    name, settings = CASES[case]
    batch = make_batch(name)
    if strategy in PLACELESS.get(name, ()):
        with pytest.raises(InputError, match=f"{strategy}|JointBackbone"):
            apply_strategy(strategy, build(name))
        return
    before = run(build(name, **settings).eval(), batch)
    model = apply_strategy(strategy, build(name, **settings).eval())
    after = run(model, batch)
    if strategy not in NOT_IDENTICAL_AT_START:
        assert all(torch.equal(before[key], after[key]) for key in SAID)
    model.train()
    kept = {key: value.detach().clone() for key, value in model.named_parameters()}
    trained = set(trainable_parameters(model).names)
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.05)
    for _ in range(3):  # first only W_up of a bottleneck has a gradient, and a cell in a low-rank path last of all
        optimizer.zero_grad()
        losses = model.losses(forward(model, batch), batch)
        if get_strategy(strategy).alignment and name in ONE_SIDED:
            with pytest.raises(InputError, match="text states depend on nothing that trains"):
                Alignment()(model)
        elif get_strategy(strategy).alignment and "text" in before["states"]:
            losses["alignment"] = Alignment()(model)
            assert losses["alignment"] > 0
        loss = sum(losses.values())
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, kept[key])}
    felt = {key for key, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    assert moved and moved <= trained and len(felt) > 0.5 * len(trained)


@pytest.mark.parametrize("after", [None, "feed_forward"])
def test_the_alignment_trains_both_sides_or_is_refused(name, batch, after):
    """That is, what the video's states depend on, and what those of the words do."""
    if after and not build(name).feed_forward_blocks():
        return
    model = wake(apply_strategy("read_pvla", build(name), **({"after": after} if after else {})))
    forward(model, batch)
    if name in ONE_SIDED or (after and name in {"qd_detr", "umt"}):
        with pytest.raises(InputError, match="text states depend on nothing that trains"):
            Alignment()(model)
        return
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    layers, whole = alignment_states(model), gradients_of(Alignment()(model), trained)
    for side in ("video", "text"):
        reached = gradients_of(sum(getattr(states, side).square().sum() for states in layers), trained)
        assert any(
            here is not None and part is not None and part.any() for here, part in zip(reached, whole, strict=True)
        )


def gradients_of(value, parameters):
    return torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)


@pytest.mark.parametrize("strategy", sorted({*strategy_names()} - {"peft"}))  # lora, by another name
def test_heads_train_where_they_are_asked_to(name, strategy):
    if strategy == "proj" or strategy in PLACELESS.get(name, ()):
        return  # the heads are what `proj` trains
    heads = set(head_parameters(build(name)))
    for asked in (False, True):
        model = apply_strategy(strategy, build(name), train_head=asked)
        trained = {key.replace("base_layer.", "") for key in trainable_parameters(model).names}
        assert trained & heads == (heads if asked else set())
        assert ("heads" in trained_places(model)) == (asked and bool(heads))


BETWEEN = {  # linear layers of no place: not in a block that joins the residual
    "umt": {f"query_gen.encoder.{part}" for part in "qkvm"},
    "qd_detr": {
        f"transformer.decoder.{part}.layers.{layer}"
        for part, layers in {"query_scale": 2, "ref_point_head": 2, "ref_anchor_head": 2, "bbox_embed": 3}.items()
        for layer in range(layers)
    },
}  # fmt: skip


def test_all_places_hold_all_linear_layers_but_those_between_blocks(name, model):
    everywhere, placed = linear_layers(model), linear_layers(model, SUB_BLOCKS)
    assert everywhere[1] == placed[1]
    assert set(everywhere[0]) - set(placed[0]) == BETWEEN.get(name, set()) and set(placed[0]) <= set(everywhere[0])


@pytest.mark.parametrize("strategy", ["lora", "adapter", "read", "read_lora"])
def test_strategies_stand_at_the_places_that_are_asked_for(name, batch, strategy):
    """And where they do, the model starts as it was, and every bottleneck and update gets a gradient."""
    offered = [kind for kind in SUB_BLOCKS if getattr(build(name), f"{kind}_blocks")()]
    before = run(build(name).eval(), batch)
    for kinds in (*([kind] for kind in offered), offered):
        model = apply_strategy(strategy, build(name).eval(), after=kinds)
        assert sorted(trained_places(model)) == sorted(kinds)
        after = run(model, batch)
        assert all(torch.equal(before[key], after[key]) for key in SAID)
        sum(wake(model).train().losses(forward(model, batch), batch).values()).backward()
        idle = [key for key, value in model.named_parameters() if value.requires_grad and value.grad is None]
        assert idle == []
    assert_padding_changes_nothing(wake(apply_strategy(strategy, build(name), after=offered)).eval(), batch, batch)


def test_save_and_load(model, batch, tmp_path):
    model.save(tmp_path / "backbone")
    loaded = load_backbone(tmp_path / "backbone")
    assert loaded.config == model.config and loaded.digest() == model.digest()
    assert torch.equal(run(loaded.eval(), batch)["spans"], run(model.eval(), batch)["spans"])
    with torch.no_grad():
        next(loaded.parameters()).flatten()[0] += 1
    assert loaded.digest() != model.digest()
    (tmp_path / "backbone/config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        load_backbone(tmp_path / "backbone")


def test_files_without_the_weights_that_tell_sizes_are_refused(model, tmp_path):
    torch.save({"model": {}}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="no published checkpoints" if model.name == "joint" else "missing keys"):
        type(model).load_published(tmp_path / "x.ckpt")
