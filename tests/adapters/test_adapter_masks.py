"""Whose mask counts, and how it is read: of the stack that a place is in, in every form that models are given."""

import pytest
import torch
from torch import nn

from read.adapters import AdapterConfig, inject
from read.adapters.masks import begins_again, numbered, real_tokens
from read.adapters.sub_blocks import find_places
from read.errors import InputError
from tests.adapters import zoo

LOW = torch.finfo(torch.float32).min
REAL = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])  # padded on the left, as prompts are
CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()
PAIRS = (REAL[:, None, None, :] == 1) & CAUSAL
MASKS = {
    "int": REAL,
    "bool": REAL.bool(),
    "float": REAL.float(),
    "added": (1 - REAL) * LOW,
    "infinite": torch.where(REAL == 1, 0.0, -torch.inf),
    "pairs": PAIRS,
    "pairs added": torch.where(PAIRS, 0.0, LOW),
    "pairs of heads": PAIRS.expand(2, 3, 5, 5).long(),
    "pairs without heads": PAIRS[:, 0],
    "both ways": REAL[:, None, None, :].bool(),
    "by kind": {"sliding_attention": PAIRS & ~CAUSAL.tril(-2), "full_attention": PAIRS},
    "window": {"sliding_attention": PAIRS & ~CAUSAL.tril(-2)},
}


@pytest.mark.parametrize("form", MASKS)
def test_every_form_tells_the_same_tokens(form):
    assert torch.equal(real_tokens(MASKS[form], 0, 2, 5, "here"), REAL.bool())


@pytest.mark.parametrize("form", [form for form in MASKS if form != "both ways"])
@pytest.mark.parametrize("room", [0, 4])
def test_the_past_is_cut_off_and_nothing_else(form, room):
    """The last two tokens after three in a cache, which may have room for more."""

    def last(mask):
        if isinstance(mask, dict):
            return {key: last(value) for key, value in mask.items()}
        if mask.dim() < 3:
            return mask
        low = LOW if mask.is_floating_point() else 0
        return nn.functional.pad(mask[..., -2:, :], (0, room), value=low)

    if MASKS[form] is REAL or (not isinstance(MASKS[form], dict) and MASKS[form].dim() == 2):
        with pytest.raises(InputError, match=r"must be \(2, 4\)"):
            real_tokens(MASKS[form], 2, 2, 2, "here")
    assert torch.equal(real_tokens(last(MASKS[form]), 3, 2, 2, "here"), REAL[:, 3:].bool())


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (REAL[:1], r"mask \(1, 5\) of here: must be \(2, 5\)"),
        (REAL[:, 1:], r"mask \(2, 4\) of here: must be \(2, 5\)"),
        (PAIRS[..., :4], r"mask \(2, 1, 5, 4\) of here: must be \(2, 1, 5, 5 or more"),
        (PAIRS[..., 1:, :], "mask"),
        (PAIRS | torch.eye(5, dtype=torch.bool), "may be padding or not"),
        (PAIRS & ~torch.eye(5, dtype=torch.bool), "may be padding or not"),
        ("causal", "type str does not tell"),
    ],
)
def test_what_cannot_be_read_is_refused(mask, message):
    with pytest.raises(InputError, match=message):
        real_tokens(mask, 0, 2, 5, "here")


def test_no_mask_is_no_padding():
    assert real_tokens(None, 3, 2, 5, "here") is None
    assert real_tokens({"full_attention": None}, 3, 2, 5, "here") is None


class Tagger(nn.Module):
    """A user's own model, whose inner stack is torch's and takes a mask by another name."""

    def __init__(self, batch_first):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first)
        self.batch_first = batch_first
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, tokens, real):
        tokens = tokens if self.batch_first else tokens.transpose(0, 1)
        tokens = self.encoder(tokens, src_key_padding_mask=~real)
        return tokens if self.batch_first else tokens.transpose(0, 1)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("target", ["layers.*.linear2", "layers.*.self_attn"])
def test_layers_of_torch_are_padded_as_they_are_told(awake, batch_first, target):
    model = awake(inject(Tagger(batch_first).eval(), AdapterConfig(targets=target, bidirectional=True)))
    tokens, lengths = torch.randn(3, 6, 8), (6, 4, 1)
    together = model(tokens, torch.arange(6) < torch.tensor(lengths)[:, None])
    for i, length in enumerate(lengths):
        alone = model(tokens[i : i + 1, :length], torch.ones(1, length, dtype=torch.bool))
        torch.testing.assert_close(together[i, :length], alone[0], atol=1e-5, rtol=1e-4)


class Masked(nn.Module):
    """A model with a mask, and a way round its forward call."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def forward(self, tokens, attention_mask=None, fail=False):
        return self.encode(tokens)

    def encode(self, tokens):
        for layer in self.layers:
            tokens = tokens + layer(tokens)
        return tokens


@pytest.mark.parametrize("failed", [False, True])
def test_a_place_outside_its_stacks_call_is_an_error(awake, failed):
    """It has nobody's mask: neither none nor that of the call before, be it one that failed."""
    model = awake(inject(Masked(), AdapterConfig(targets="layers.*")))
    tokens = torch.randn(2, 5, 8)
    if failed:
        with pytest.raises(InputError, match="must be"):
            model(tokens, torch.ones(2, 3))
    else:
        model(tokens, REAL)
    with pytest.raises(InputError, match=r"layers.0 runs outside the forward call of the model"):
        model.encode(tokens)
    plain = awake(inject(Masked(), AdapterConfig(mixer="none", targets="layers.*")))
    plain.encode(tokens)  # without a recurrence, no token has to do with another


# transformers

WORDS = {"vocab_size": 60, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
ATTENTION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
LENGTHS = (9, 5, 2)


def build(kind):
    """A small random model of a class that only targets know, and its targets."""
    hf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    both = ("layers.*.mlp", "layers.*.self_attn")
    if kind == "mbart":
        sides = {f"{side}_{key}": value for side in ("encoder", "decoder")
                 for key, value in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 24))}  # fmt: skip
        config = hf.MBartConfig(**WORDS, **sides, d_model=16, decoder_start_token_id=2, init_std=0.4)
        return hf.MBartForConditionalGeneration(config), ("layers.*.fc2", "layers.*.self_attn", "layers.*.encoder_attn")
    if kind == "siglip":
        vision = {**ATTENTION, "image_size": 32, "patch_size": 16}
        return hf.SiglipModel(hf.SiglipConfig(text_config={**WORDS, **ATTENTION}, vision_config=vision)), both
    if kind == "bert":
        model = hf.BertModel(hf.BertConfig(**WORDS, **ATTENTION), add_pooling_layer=False)
        return model, ("layer.*.output.dense", "layer.*.attention.output.dense")
    if kind == "gpt2":
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.4}
        return hf.GPT2LMHeadModel(hf.GPT2Config(**WORDS, **sizes)), ("h.*.mlp", "h.*.attn")
    if kind == "bloom":
        return hf.BloomForCausalLM(hf.BloomConfig(**WORDS, hidden_size=16, n_layer=2, n_head=2)), ("h.*.mlp",)
    if kind == "llama":
        return hf.LlamaForCausalLM(hf.LlamaConfig(**WORDS, **ATTENTION, initializer_range=0.4)), both
    windows = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"], "head_dim": 8}
    config = hf.Gemma3TextConfig(**WORDS, **ATTENTION, **windows, num_key_value_heads=1, initializer_range=0.4)
    return hf.Gemma3ForCausalLM(config), both


def words(left=False):
    real = torch.arange(9) < torch.tensor(LENGTHS)[:, None]
    real = real.flip(1) if left else real
    tokens = torch.randint(3, 60, (3, 9), generator=torch.Generator().manual_seed(1))
    return tokens.masked_fill(~real, 1), real.long()


@torch.no_grad()
def answer(kind, model, tokens, mask):
    if kind == "mbart":
        written = torch.arange(10, 16).expand(len(tokens), -1)
        return model(input_ids=tokens, attention_mask=mask, decoder_input_ids=written, use_cache=False).logits
    if kind == "siglip":
        pixels = torch.randn(len(tokens), 3, 32, 32, generator=torch.Generator().manual_seed(1))
        return model(input_ids=tokens, attention_mask=mask, pixel_values=pixels).image_embeds
    return model(input_ids=tokens, attention_mask=mask)[0]


@pytest.mark.parametrize("kind", ["mbart", "siglip", "bert", "gpt2", "llama", "gemma3", "bloom"])
def test_untrained_targets_change_nothing(kind):
    model, targets = build(kind)
    tokens, mask = words()
    before = answer(kind, model.eval(), tokens, mask)
    assert torch.equal(answer(kind, inject(model, AdapterConfig(targets=targets)), tokens, mask), before)


@pytest.mark.parametrize("kind", ["mbart", "bert", "llama", "gemma3"])
def test_a_padded_batch_gives_what_each_sample_gives_alone(awake, kind):
    model, targets = build(kind)
    awake(inject(model.eval(), AdapterConfig(targets=targets)))
    tokens, mask = words()
    together = answer(kind, model, tokens, mask)
    for i, length in enumerate(LENGTHS):
        alone = answer(kind, model, tokens[i : i + 1, :length], torch.ones(1, length, dtype=torch.long))[0]
        torch.testing.assert_close(together[i, : len(alone)], alone, atol=1e-5, rtol=1e-4)


def test_a_picture_does_not_see_the_padding_of_a_text(awake):
    model, targets = build("siglip")
    awake(inject(model.eval(), AdapterConfig(targets=targets, bidirectional=True)))
    tokens, mask = words()
    assert torch.equal(answer("siglip", model, tokens, mask), answer("siglip", model, tokens, torch.ones_like(mask)))


@pytest.mark.parametrize(("name", "part"), [("t5gemma", "model.encoder"), ("xlm", ""), ("flaubert", "")])
@torch.no_grad()
def test_a_model_that_knows_padding_by_its_ids_needs_no_mask(awake, name, part):
    model, inputs = zoo.make(name), zoo.feed(name)
    awake(inject(model, AdapterConfig(bottleneck=4, bidirectional=True)))
    reads, real = model.get_submodule(part), inputs["attention_mask"].bool()
    torch.testing.assert_close(reads(input_ids=inputs["input_ids"])[0][real], reads(**inputs)[0][real])


@torch.no_grad()
def test_pictures_in_one_row_do_not_see_each_other(awake):
    hf = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = hf.PixtralVisionModel(hf.PixtralVisionConfig(**sizes, image_size=32, patch_size=8)).eval()
    awake(inject(model, AdapterConfig(bottleneck=4, after=("attention", "feed_forward"), bidirectional=True)))
    pictures, sizes = torch.randn(3, 3, 32, 32), torch.tensor([[32, 32], [16, 24], [8, 32]])
    together = model(pictures, image_sizes=sizes)[0]
    alone = [model(one[None, :, :h, :w], image_sizes=size[None])[0] for one, size in zip(pictures, sizes, strict=True)
             for h, w in [size.tolist()]]  # fmt: skip
    torch.testing.assert_close(together, torch.cat(alone, dim=1), atol=1e-5, rtol=1e-4)


def test_samples_in_one_row_are_told_by_who_attends_to_whom():
    blocks = torch.block_diag(torch.ones(2, 2), torch.ones(1, 1), torch.ones(3, 3)).bool()
    real = torch.tensor([[True] * 6, [True] * 5 + [False]])
    both = torch.stack((blocks, torch.ones(6, 6, dtype=torch.bool)))[:, None]
    assert numbered(both, real).tolist() == [[0, 0, 1, 2, 2, 2], [0] * 6]
    assert numbered(torch.where(both, 0.0, LOW), real).tolist() == [[0, 0, 1, 2, 2, 2], [0] * 6]
    assert numbered((both & torch.ones(6, 6).tril().bool())[1:], real[1:]) is None


def test_a_graph_ends_where_samples_share_a_row():
    torch._dynamo.reset()
    blocks = torch.block_diag(torch.ones(2, 2), torch.ones(3, 3)).bool()[None, None]
    whole, real = torch.ones_like(blocks), torch.ones(1, 5, dtype=torch.bool)
    places = torch.arange(5)[None]
    told = torch.compile(lambda mask, at: (numbered(mask, real), begins_again(at), mask.sum()), backend="eager")
    assert told(whole, places)[:2] == (None, False)
    for mask, at in ((blocks, places), (whole, places % 3)):
        with pytest.raises(RuntimeError, match="several sequences"):
            told(mask, at)


def test_a_decoder_is_given_no_samples_in_one_row():
    model = inject(zoo.make("llama"))
    mask = torch.block_diag(torch.ones(3, 3), torch.ones(2, 2)).tril()[None, None].bool()
    with pytest.raises(InputError, match="do not attend to those before them"):
        model(input_ids=torch.ones(1, 5, dtype=torch.long) * 5, attention_mask=mask)


def test_samples_that_cu_seqlens_tell_apart_are_refused():
    class Tower(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, hidden_states, cu_seqlens=None):
            return self.linear(hidden_states)

    model, tokens = inject(Tower(), AdapterConfig(targets="linear")), torch.randn(1, 5, 8)
    model(tokens)
    with pytest.raises(InputError, match="say that a row is several samples"):
        model(tokens, cu_seqlens=torch.tensor([0, 2, 5]))


def test_an_encoder_that_is_called_by_itself_has_its_own_mask(awake):
    model, targets = build("mbart")
    awake(inject(model.eval(), AdapterConfig(targets=targets)))
    tokens, mask = words()
    with torch.no_grad():
        before = model.get_encoder()(tokens[:1])[0]
        answer("mbart", model, tokens, mask)
        torch.testing.assert_close(model.get_encoder()(tokens[:1])[0], before, atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma3", "mbart"])
@pytest.mark.parametrize("mixer", ["gru", "conv"])
def test_every_cache_writes_what_no_cache_writes(awake, kind, mixer):
    """Decoders that say themselves that they are causal; a static cache comes with masks of pairs, one or several."""
    model, targets = build(kind)
    awake(inject(model.eval().double(), AdapterConfig(mixer=mixer, targets=targets)), scale=0.6)
    tokens, mask = words(left=kind != "mbart")
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "output_scores": True, "return_dict_in_generate": True}

    def generate(rows=slice(None), start=0, **cache):
        inputs = {"input_ids": tokens[rows, start:], "attention_mask": mask[rows, start:]}
        return model.generate(**inputs, do_sample=False, **settings, **cache)

    expected = generate(use_cache=False)
    for cache in ({"use_cache": True}, {"cache_implementation": "static"}):
        written = generate(**cache)
        assert torch.equal(written.sequences, expected.sequences)
        for one, other in zip(written.scores, expected.scores, strict=True):
            torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
    if kind != "mbart":
        alone = generate(slice(1, 2), 4, cache_implementation="static").sequences
        assert torch.equal(alone[0, 5:], expected.sequences[1, 9:])


def test_a_cache_wants_to_know_that_layers_are_causal(awake):
    """BLOOM does not say so. Its first token is right in any case, the second would start its recurrence anew."""
    model, targets = build("bloom")
    tokens, mask = words(left=True)
    inputs = {"input_ids": tokens, "attention_mask": mask, "max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    inject(model.eval(), AdapterConfig(targets=targets))
    with pytest.raises(InputError, match=r"h.0.mlp.*AdapterConfig\(causal=True\)"):
        model.generate(**inputs)
    model, _ = build("bloom")
    awake(inject(model.eval(), AdapterConfig(targets=targets, causal=True)), scale=0.6)
    assert torch.equal(model.generate(**inputs), model.generate(**inputs, use_cache=False))


@pytest.mark.parametrize(
    ("kind", "causal"),
    [("mbart", {"encoder": False, "decoder": True}), ("siglip", {"": False}), ("bert", {"": False}),
     ("gpt2", {"": True}), ("gemma3", {"": True})],
)  # fmt: skip
def test_models_say_themselves_what_is_causal(kind, causal):
    model, targets = build(kind)
    for place in find_places(model, AdapterConfig(targets=targets)):
        (expected,) = (value for part, value in causal.items() if part in place.stack)
        assert place.causal == expected
