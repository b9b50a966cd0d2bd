"""Adapted models in graphs of torch.compile: one graph, the numbers of eager mode, and any lengths."""

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

from read.adapters import AdapterConfig, alignment_states, apply_strategy, inject
from tests import video_models as vlm

LENGTHS = [(3, 9), (4, 17), (2, 33)]  # samples, tokens
CELLS = ("none", "rnn", "gru", "lstm", "mingru", "ema", "conv")


class Encoder(nn.Module):
    """A layer of torch's, the least to trace."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(60, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, input_ids, attention_mask):
        padded = attention_mask == 0
        states = self.encoder(self.embed(input_ids), src_key_padding_mask=padded)
        return {"logits": states.masked_fill(padded[..., None], 0)}


class Beside(nn.Module):
    """Models that are given the same."""

    def __init__(self, models):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, **batch):
        return {"logits": torch.stack([model(**batch)["logits"] for model in self.models])}


def llama():
    import transformers as hf

    torch.manual_seed(0)
    sizes = {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, **heads, pad_token_id=1)).eval()


def sentences(samples, tokens):
    generator = torch.Generator().manual_seed(tokens)
    lengths = torch.randint(2, tokens + 1, (samples, 1), generator=generator)
    lengths[0] = tokens
    mask = (torch.arange(tokens) < lengths).long()
    words = torch.randint(3, 60, (samples, tokens), generator=generator).masked_fill(mask == 0, 1)
    return {"input_ids": words, "attention_mask": mask}


@pytest.fixture
def subjects(univtg, transformer, batches):
    """By kind: a model, a config's targets, and a batch of so many samples and tokens."""

    def make(kind):
        if kind == "univtg":
            model = univtg(drop_path=0.0, input_dropout=0.0, layers=1)
            return model, (), lambda b, t: batches((t, *range(2, b + 1)), (t // 2 + 1, *range(1, b)))
        if kind == "torch":
            return Encoder(), ("linear2",), sentences
        if kind == "llama":
            return llama(), ("mlp",), sentences
        model, _ = transformer(kind)

        def pairs(samples, tokens):
            given = sentences(samples, tokens)
            given["decoder_attention_mask"] = given["attention_mask"][:, :-2]
            return given | {"decoder_input_ids": given["input_ids"][:, 2:].clone()}

        return model, (), pairs if kind == "bart" else sentences

    return make


def output(outputs):
    return outputs["spans"] if "spans" in outputs else outputs["logits"]


def step(model, batch):
    """What a model gives, and the gradients."""
    model.zero_grad()
    given = output(model(**batch))
    given.square().mean().backward()
    return given, [p.grad for p in model.parameters() if p.requires_grad]


def check_one_graph(model, batch):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    for sizes in LENGTHS[1:]:
        expected = step(model, batch(*sizes))
        torch.testing.assert_close(step(compiled, batch(*sizes)), expected, atol=1e-5, rtol=1e-4)
    assert counter.frame_count == 1
    return compiled


def test_all_kinds_of_cells_are_one_graph_for_all_lengths(subjects, awake):
    model, targets, batch = zip(*(subjects("torch") for _ in CELLS), strict=True)
    configs = [AdapterConfig(mixer=mixer, targets=targets[0]) for mixer in CELLS]
    check_one_graph(Beside(map(awake, map(inject, model, configs))), batch[0])


def test_gradients_of_a_decoder_are_of_one_graph_for_all_lengths(subjects, awake):
    model, targets, batch = subjects("llama")
    check_one_graph(awake(inject(model, AdapterConfig(targets=targets))), batch)


def test_an_encoder_with_a_decoder_is_one_graph_for_all_lengths(subjects, awake):
    model, _, batch = subjects("bart")
    for side in (model.model.encoder, model.model.decoder):
        del side.layers[1:]
    check_one_graph(awake(inject(model, AdapterConfig(targets=("fc2",)))), batch)


def test_states_to_align_are_those_of_the_compiled_pass(subjects, batches, awake):
    model, _, batch = subjects("univtg")
    model = awake(apply_strategy("read_pvla", model, mixer="gru"))
    compiled = check_one_graph(model, batch)
    for seed in (1, 2):
        model(**batches(seed=seed))
        expected = alignment_states(model)
        compiled(**batches(seed=seed))
        torch.testing.assert_close(alignment_states(model), expected)
    assert len(expected) == 3


def test_generates_with_a_compiled_decoder(subjects, awake):
    """The cache is made in the graph of the first call, and reordered outside of it."""
    model, targets, batch = subjects("llama")
    awake(inject(model, AdapterConfig(targets=targets)), scale=0.6)
    asked = {"max_new_tokens": 4, "num_beams": 2, "do_sample": False, "pad_token_id": 1, "eos_token_id": 2}
    given = batch(2, 6)
    expected = model.generate(**given, **asked, output_scores=True, return_dict_in_generate=True)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    model.forward = torch.compile(model.forward, fullgraph=True, dynamic=True, backend=counter)
    got = model.generate(**given, **asked, output_scores=True, return_dict_in_generate=True)
    assert torch.equal(got.sequences, expected.sequences)
    torch.testing.assert_close(got.scores, expected.scores)
    assert counter.frame_count == 2


def test_lengths_that_vary_are_noticed_once(subjects, awake):
    """As in a model without adapters: a graph for the first batch, one for all others."""
    model, targets, batch = subjects("torch")
    awake(inject(model, AdapterConfig(targets=targets)))
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for sizes in [*LENGTHS, (5, 40), (7, 8)]:
        torch.testing.assert_close(output(compiled(**batch(*sizes))), output(model(**batch(*sizes))))
    assert counter.frame_count == 2


def test_inductor(subjects, awake):
    """By torch's own kernels, which takes no C++ compiler: a graph forwards, one backwards."""
    model, targets, batch = subjects("torch")
    awake(inject(model, AdapterConfig(targets=targets)))
    torch._dynamo.reset()
    expected = step(model, batch(3, 9))
    compiled = torch.compile(model, fullgraph=True, mode="lite")
    torch.testing.assert_close(step(compiled, batch(3, 9)), expected, atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_a_video_language_model_breaks_no_graph(awake):
    """A graph for the first batch, one for all others, where torch may read values in graphs, as without adapters."""
    pytest.importorskip("num2words")
    processor = vlm.make_processor("smolvlm")
    batches = [
        dict(vlm.batch_of(processor, [vlm.clip(count, seed) for seed in range(2)], questions))
        for count, questions in ((4, ["When?", "Which colour came first?"]), (6, ["red then", "When does it happen"]))
    ]
    counts = []
    for adapted in (False, True):
        model = vlm.make_model("smolvlm", layers=1)
        if adapted:
            awake(inject(model), scale=0.1)
        torch._dynamo.reset()
        counters.clear()
        counter = CompileCounterWithBackend("eager")
        compiled = torch.compile(model, backend=counter)
        with torch._dynamo.config.patch(capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True):
            for batch in batches:
                torch.testing.assert_close(step(compiled, batch), step(model, batch), atol=1e-5, rtol=1e-3)
        counts.append((counter.frame_count, sum(counters["graph_break"].values())))
    assert counts == [(2, 0)] * 2
