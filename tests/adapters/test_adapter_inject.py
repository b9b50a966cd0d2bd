import copy
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from read.adapters import AdapterConfig, activate, alignment_states, deactivate, inject, remove, trainable_parameters
from read.adapters.config import SUB_BLOCKS
from read.adapters.sub_blocks import find_places
from read.errors import InputError

Segment = namedtuple("Segment", "modality start stop mask")
FORMS = [
    {"mixer": "none"},
    {"mixer": "rnn", "residual": False},
    {"mixer": "gru", "bidirectional": True},
    {"mixer": "lstm", "after": ("attention", "feed_forward")},
    {"mixer": "conv", "placement": "parallel", "scale": 0.5},
    {"mixer": "gru", "placement": "parallel", "after": "attention"},
    {"mixer": "rnn", "shared": True},
    {"mixer": "gru", "placement": "low_rank", "bidirectional": True, "after": SUB_BLOCKS},
    {"mixer": "mingru", "placement": "low_rank", "shared": True},
    {"mixer": "ema", "bidirectional": True},
]


class OneLayer(nn.Module):
    """A user's own model: post-norm layers with feed-forward blocks that nothing tells of."""

    def __init__(self, layers=2):
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"linear1": nn.Linear(8, 16), "linear2": nn.Linear(16, 8),
                                                   "norm": nn.LayerNorm(8)}) for _ in range(layers))  # fmt: skip

    def forward(self, x):
        for block in self.blocks:
            x = block["norm"](x + block["linear2"](F.relu(block["linear1"](x))))
        return x


class TwoModalities(OneLayer):
    """The same, and it tells which tokens are video and which are text."""

    def segments(self, clips):
        whole = torch.ones(1, 1, dtype=torch.bool)
        return [
            Segment("video", 0, clips, whole.expand(3, clips)),
            Segment("text", clips, 9, whole.expand(3, 9 - clips)),
        ]

    def forward(self, x, clips):
        return super().forward(x)


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in ("spans", "scores", "saliency"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("training", [False, True])
def test_untrained_is_bit_identical(univtg, batch, form, training):
    model = univtg(drop_path=0.0, input_dropout=0.0).train(training)
    before = model(**batch)
    assert same(before, inject(model, AdapterConfig(**form))(**batch))


@pytest.mark.parametrize("form", FORMS)
def test_padding_never_changes_a_result(univtg, batch, awake, form):
    model = awake(inject(univtg(), AdapterConfig(**form)))
    together = model(**batch)
    for i in range(3):
        n, m = int(batch["video_mask"][i].sum()), int(batch["text_mask"][i].sum())
        alone = model(**{key: value[i : i + 1, : n if "video" in key else m] for key, value in batch.items()})
        for key in ("spans", "scores", "saliency"):
            torch.testing.assert_close(together[key][i, :n], alone[key][0], atol=1e-5, rtol=1e-5)


def test_the_backbones_keys_stay_and_only_the_adapter_trains(univtg):
    model = univtg()
    keys = set(model.state_dict())
    inject(model)
    added = set(model.state_dict()) - keys
    assert keys < set(model.state_dict())
    assert set(trainable_parameters(model).names) == added
    assert all(key.startswith("adapters.default.") for key in added)


@pytest.mark.parametrize("placement", ["sequential", "parallel"])
def test_placement_is_between_feed_forward_and_norm(awake, placement):
    torch.manual_seed(0)
    model = OneLayer(layers=1)
    config = AdapterConfig(mixer="gru", placement=placement, scale=0.7, targets="linear2")
    awake(inject(model, config))
    block, adapter = model.blocks[0], model.adapters["default"]["blocks/0/linear2"]
    x = torch.randn(3, 9, 8)
    inner = block["linear2"].weight @ F.relu(block["linear1"](x)).transpose(1, 2)
    inner = inner.transpose(1, 2) + block["linear2"].bias
    z = adapter.down(inner if placement == "sequential" else x)
    h = z + adapter.mixer.cell(z)[0]
    expected = block["norm"](x + inner + 0.7 * (F.gelu(h) @ adapter.up.weight.T + adapter.up.bias))
    torch.testing.assert_close(model(x), expected)


def test_recurrence_never_crosses_modalities(awake):
    torch.manual_seed(0)
    model = awake(inject(TwoModalities(), AdapterConfig(mixer="rnn", targets="linear2")))
    x = torch.randn(3, 9, 8)
    changed = x.clone()
    changed[:, 3] += 1  # the last clip; nothing but the recurrence mixes tokens in this model
    moved = (model(x, 4) != model(changed, 4)).any(dim=2).any(dim=0)
    assert moved.tolist() == [False] * 3 + [True] + [False] * 5
    moved = (model(x, 9) != model(changed, 9)).any(dim=2).any(dim=0)
    assert moved.tolist() == [False] * 3 + [True] * 6


def test_a_target_that_matches_nothing_names_near_ones():
    with pytest.raises(InputError, match=r"'blocks.\*.linear3'.*blocks\.\*\.linear"):
        inject(OneLayer(), AdapterConfig(targets=("blocks.*.linear3",)))


def test_a_model_that_nothing_is_known_of_wants_targets():
    with pytest.raises(InputError, match=r"OneLayer.*targets"):
        inject(OneLayer())


def test_what_is_no_config_is_refused():
    with pytest.raises(InputError, match="must be an AdapterConfig, not a dict"):
        inject(OneLayer(), {"mixer": "gru"})


@pytest.mark.parametrize("shape", [(3, 8), (3, 9, 2, 8)])
def test_tokens_of_another_shape_are_refused(shape):
    model = inject(OneLayer(), AdapterConfig(targets="linear2"))
    with pytest.raises(InputError, match=rf"blocks.0.linear2: its tokens are \({shape[0]}, .*\(B, T, 8\)"):
        model(torch.randn(shape))


@pytest.mark.parametrize("shape", [(3, 8), (2, 9), (1, 9)])
def test_masks_of_another_shape_are_refused(shape):
    class Masked(OneLayer):
        def forward(self, x, attention_mask):
            return super().forward(x)

    model = inject(Masked(), AdapterConfig(targets="linear2"))
    with pytest.raises(InputError, match=r"mask \(\d, \d\) of tokens, blocks.0.linear2: must be \(3, 9\)"):
        model(torch.randn(3, 9, 8), torch.ones(shape))


def test_targets_take_globs_and_ends_of_names():
    names = [place.name for place in find_places(OneLayer(), AdapterConfig(targets=("linear2",)))]
    assert names == ["blocks.0.linear2", "blocks.1.linear2"]
    assert [place.name for place in find_places(OneLayer(), AdapterConfig(targets=("blocks.1.l*2",)))] == names[1:]
    assert [place.name for place in find_places(OneLayer(), AdapterConfig(targets=("blocks.[!0].*2",)))] == names[1:]


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("layer.*.output.dense", 2), ("layer.*.attention.output.dense", 2), ("layer.**.output.dense", 4),
     ("encoder.layer.?.output.dense", 2), ("*.output.dense", 4)],
)  # fmt: skip
def test_a_star_does_not_cross_dots(pattern, count):
    """In the names of BERT's layers, the attention's output layer ends as the feed-forward's does."""
    dense = lambda: nn.ModuleDict({"output": nn.ModuleDict({"dense": nn.Linear(4, 4)})})  # noqa: E731
    layers = [nn.ModuleDict({"attention": dense(), **dense()}) for _ in range(2)]
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"layer": nn.ModuleList(layers)})})
    assert len(find_places(model, AdapterConfig(targets=pattern))) == count


def test_segments_by_layer(univtg, awake):
    """A backbone whose layers see different tokens gives its segments by the prefix of their names."""

    class Prefixed(TwoModalities):
        def segments(self, clips):
            both = super().segments(clips)
            return {"blocks.0": both, "blocks": [Segment("text", 0, 9, None)]}

    torch.manual_seed(0)
    model = awake(inject(Prefixed(), AdapterConfig(mixer="rnn", targets="linear2")))
    plain = awake(inject(Prefixed(), AdapterConfig(mixer="rnn", targets="blocks.0.linear2")))
    x = torch.randn(3, 9, 8)
    changed = x.clone()
    changed[:, 3] += 1
    for one, reached in ((plain, 1), (model, 6)):
        assert int((one(x, 4) != one(changed, 4)).any(dim=2).any(dim=0).sum()) == reached


def test_torch_encoder_layers_in_evaluation(awake):
    """torch's fused path would go round the hooks, and its nested tensors break on them."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2)
    x, padding = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    awake(inject(encoder, AdapterConfig(mixer="none", targets="linear2")))
    expected = encoder.train()(x, src_key_padding_mask=padding)
    with torch.no_grad():
        got = encoder.eval()(x, src_key_padding_mask=padding)
    torch.testing.assert_close(got[~padding], expected[~padding])


def test_shared_is_one_bottleneck(univtg):
    model = inject(univtg(layers=3), AdapterConfig(mixer="none", shared=True, after=("attention", "feed_forward")))
    assert len(model.adapters["default"]) == 1
    assert len(model.adapters.keys_of["default"]) == 6


def test_copies_have_hooks_of_their_own(univtg, batch, awake):
    model = awake(inject(univtg()))
    model(**batch)["spans"].sum().backward()
    copied = copy.deepcopy(model)
    before = model(**batch)
    assert same(before, copied(**batch))
    awake(copied, seed=3)
    assert same(before, model(**batch))
    assert not same(before, copied(**batch))


def test_several_adapters_switch_and_go(univtg, batch, awake):
    model = univtg()
    plain = model(**batch)
    first = awake(inject(model, AdapterConfig(mixer="rnn"), "first"))(**batch)
    second = awake(inject(model, AdapterConfig(mixer="none", after="attention"), "second"))(**batch)
    assert not same(first, second)
    assert all(name.startswith("adapters.second.") for name in trainable_parameters(model).names)
    activate(model, "first")
    assert same(first, model(**batch))
    deactivate(model)
    assert same(plain, model(**batch))
    assert trainable_parameters(model).total == 0
    activate(model, "second")
    remove(model, "first")
    assert same(second, model(**batch))
    remove(model, "second")
    assert same(univtg().requires_grad_(False)(**batch), model(**batch))  # frozen, torch may go another way
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert set(model.state_dict()) == set(univtg().state_dict())


def test_names_of_adapters(univtg):
    model = inject(univtg(), name="first")
    with pytest.raises(InputError, match="already there"):
        inject(model, name="first")
    with pytest.raises(InputError, match="'keys'"):
        inject(model, name="keys")
    with pytest.raises(InputError, match=r"'frist'.*first"):
        activate(model, "frist")


def test_alignment_states_are_the_bottlenecks_of_real_tokens(univtg, batch, awake):
    from read.adapters import apply_strategy

    model = awake(apply_strategy("read_pvla", univtg(), mixer="rnn", bottleneck=5))
    adapters = model.adapters["default"]
    with pytest.raises(InputError, match="has not run"):
        alignment_states(model)
    block, seen = model.get_submodule("transformer.encoder.layers.0.linear2"), []
    block.register_forward_hook(lambda module, args, output: seen.append(output))
    entered = {name: [] for name in model.projection_blocks()}
    for name, linear in model.projection_blocks().items():
        linear.register_forward_pre_hook(lambda module, args, name=name: entered[name].append(args[0]))
    model(**batch)
    states = alignment_states(model)
    assert [state.video.shape for state in states] == [(3, 7, 2), (3, 7, 2), (3, 7, 5), (3, 7, 5)]
    for depth in range(2):  # a projection of the video goes with that of the words
        for side, state in (("vid", states[depth].video), ("txt", states[depth].text)):
            name = f"input_{side}_proj.{depth}.net.1"
            assert torch.equal(state, adapters[name.replace(".", "/")].down(entered[name][0]))
    expected = adapters["transformer/encoder/layers/0/feed_forward"].down(seen[0])
    torch.testing.assert_close(torch.cat((states[2].video, states[2].text), dim=1), expected)
    for state in states:
        assert torch.equal(state.video_mask, batch["video_mask"]) and torch.equal(state.text_mask, batch["text_mask"])
    sum(state.video.sum() + state.text.sum() for state in states).backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if p.requires_grad and ".down." in n)


@pytest.mark.parametrize("where", ["segments", "outputs"])
def test_any_mask_of_a_model_is_one_of_the_states(where):
    """Masks of whole numbers, as tokenizers make them, and none, whether layers or the model itself tell of them."""
    from read.adapters import apply_strategy
    from read.alignment import Alignment

    class Model(OneLayer):
        def feed_forward_blocks(self):
            return {f"blocks.{i}.linear2": block["linear2"] for i, block in enumerate(self.blocks)}

        def attention_blocks(self):
            return {}

        def segments(self, real):
            if where == "outputs":
                return [Segment("tokens", 0, 9, None)]
            return [Segment("video", 0, 5, None), Segment("text", 5, 9, real)]

        def forward(self, tokens, real):
            x = super().forward(tokens)
            return {"states": {"video": x[:, :5], "text": x[:, 5:]}, "masks": {"text": real}}

    model = apply_strategy("read_pvla", Model())
    real = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
    model(torch.randn(2, 9, 8), real)
    assert Alignment()(model).isfinite()
    assert [plan.shape for plan in Alignment().plans(model)] == [(5, 4), (5, 1)]
    assert torch.equal(alignment_states(model)[0].text_mask, real.bool())


def test_states_are_recorded_only_where_a_strategy_aligns(univtg, batch):
    model = inject(univtg())
    model(**batch)
    with pytest.raises(InputError, match="none that aligns"):
        alignment_states(model)


class Towers(nn.Module):
    """Linear projections of clips and words, and a map into a joint space; nothing else mixes tokens."""

    def __init__(self):
        super().__init__()
        self.video, self.text, self.map = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(8, 4)

    def feed_forward_blocks(self):
        return {}

    def attention_blocks(self):
        return {}

    def projection_blocks(self):
        return {"video": self.video, "text": self.text}

    def joint_blocks(self):
        return {"map": self.map}

    def segments(self, video_mask, text_mask):
        clips = [Segment("video", 0, video_mask.shape[1], video_mask)]
        return {"video": clips, "text": [Segment("text", 0, text_mask.shape[1], text_mask)], "map": clips}

    def forward(self, video, video_mask, text, text_mask):
        clips, words = self.video(video), self.text(text)
        states = {"video": clips, "text": words.mean(1, keepdim=True)}
        return {"joint": self.map(clips), "text": words, "states": states, "masks": {"text": text_mask[:, :1]}}


def towers_batch():
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    return {
        "video": torch.randn(2, 7, 6, generator=generator), "video_mask": mask,
        "text": torch.randn(2, 3, 5, generator=generator), "text_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]).bool(),
    }  # fmt: skip


@pytest.mark.parametrize("placement", ["sequential", "parallel"])
@pytest.mark.parametrize(("bottleneck", "widths"), [(1, (1, 2)), (5, (2, 10)), (8, (4, 16))])
def test_a_branch_beside_a_linear_layer_is_parallel(awake, placement, bottleneck, widths):
    torch.manual_seed(0)
    plain, batch = Towers(), towers_batch()
    config = AdapterConfig(mixer="gru", bottleneck=bottleneck, placement=placement, scale=0.7)
    model = awake(inject(copy.deepcopy(plain), config))
    adapters = model.adapters["default"]
    assert [len(adapters[name].down.weight) for name in ("video", "text", "map")] == [widths[0], *widths]

    def expected(name, tokens, mask):
        adapter = adapters[name]
        z = adapter.down(tokens)
        h = [torch.cat((z[i, :n] + adapter.mixer.cell(z[i : i + 1, :n])[0][0], z[i, n:]))
             for i, n in enumerate(mask.sum(1).tolist())]  # fmt: skip
        branch = F.gelu(torch.stack(h)) @ adapter.up.weight.T + adapter.up.bias
        return plain.get_submodule(name)(tokens) + 0.7 * branch

    video, words = batch["video_mask"], batch["text_mask"]
    clips = expected("video", batch["video"], video)
    got = model(**batch)
    torch.testing.assert_close(got["joint"][video], expected("map", clips, video)[video])
    torch.testing.assert_close(got["text"][words], expected("text", batch["text"], words)[words])


def test_kinds_that_a_model_lacks_are_passed_over():
    def found(model, *after):
        return [place.name for place in find_places(model, AdapterConfig(after=after))]

    assert found(Towers(), "feed_forward", "projection", "attention") == ["video", "text"]
    with pytest.raises(InputError, match="feed_forward and attention blocks are not known"):
        found(Towers(), "feed_forward", "attention")


def test_one_modality_alone_is_aligned_by_the_models_states():
    from read.adapters import apply_strategy

    batch, model = towers_batch(), apply_strategy("read_pvla", Towers(), after="joint")
    outputs = model(**batch)
    (state,) = alignment_states(model)
    assert state.video is outputs["states"]["video"] and state.text is outputs["states"]["text"]
    assert torch.equal(state.video_mask, batch["video_mask"]) and torch.equal(
        state.text_mask, batch["text_mask"][:, :1]
    )
    model = apply_strategy("read_pvla", Towers())
    model(**batch)
    assert [(state.video.shape, state.text.shape) for state in alignment_states(model)] == [((2, 7, 4), (2, 3, 4))]


def test_tokens_that_segments_do_not_tell_of_are_refused():
    class Silent(Towers):
        def segments(self, video_mask, text_mask):
            found = super().segments(video_mask, text_mask)
            return {"video": found["video"], "map": found["map"]}

    with pytest.raises(InputError, match="text: the model's segments tell of the tokens in video, map only"):
        inject(Silent())(**towers_batch())


def test_shared_branches_are_one_for_each_pair_of_widths():
    keys = inject(Towers(), AdapterConfig(mixer="none", shared=True)).adapters["default"].keys()
    assert list(keys) == ["projection_6_8", "projection_5_8", "joint_8_4"]
