"""Adapted models in graphs of torch.compile: one graph, the numbers of eager mode, and any lengths."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from read.adapters import AdapterConfig, alignment_states, apply_strategy, inject

LENGTHS = [(3, 9), (3, 11), (4, 17), (2, 33)]  # samples, tokens: the first two dimensions to vary, one by one


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


FORMS = [
    pytest.param("univtg", {"mixer": "gru", "bidirectional": True}, marks=pytest.mark.slow),
    pytest.param("bart", {"mixer": "lstm"}, marks=pytest.mark.slow),
    ("llama", {"mixer": "rnn", "placement": "parallel"}),
    ("llama", {"mixer": "mingru"}),
    ("llama", {"mixer": "ema"}),
    ("llama", {"mixer": "conv"}),
    ("llama", {"mixer": "none"}),
]


@pytest.mark.parametrize(("kind", "form"), FORMS, ids=lambda part: part if isinstance(part, str) else part["mixer"])
def test_is_one_graph_for_all_lengths(subjects, awake, kind, form):
    model, targets, batch = subjects(kind)
    awake(inject(model, AdapterConfig(**form, targets=targets)))
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    for sizes in LENGTHS[-2:]:
        expected = step(model, batch(*sizes))
        torch.testing.assert_close(step(compiled, batch(*sizes)), expected, atol=1e-5, rtol=1e-4)
    assert counter.frame_count == 1


def test_lengths_that_vary_are_noticed_once_each(subjects, awake):
    """As in a model without adapters: a graph for the first batch, one for others of its size, one for all."""
    model, targets, batch = subjects("llama")
    awake(inject(model, AdapterConfig(targets=targets)))
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for sizes in [*LENGTHS, (5, 40), (7, 8)]:
        torch.testing.assert_close(output(compiled(**batch(*sizes))), output(model(**batch(*sizes))))
    assert counter.frame_count == 3


def test_gradients_through_autograds_graphs(subjects, awake):
    model, targets, batch = subjects("llama")
    awake(inject(model, AdapterConfig(targets=targets)))
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected = step(model, batch(3, 9))
    torch.testing.assert_close(step(compiled, batch(3, 9)), expected, atol=1e-6, rtol=1e-4)


def test_states_to_align_are_those_of_the_compiled_pass(univtg, batches, awake):
    model = awake(apply_strategy("read_pvla", univtg(layers=1), mixer="gru"))
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for seed in (1, 2):
        model(**batches(seed=seed))
        expected = alignment_states(model)
        compiled(**batches(seed=seed))
        torch.testing.assert_close(alignment_states(model), expected)
    assert len(expected) == 3


@pytest.mark.parametrize("beams", [1, 2])
def test_generates_with_a_compiled_decoder(subjects, awake, beams):
    """The cache is made in the graph of the first call, and reordered outside of it."""
    model, targets, batch = subjects("llama")
    awake(inject(model, AdapterConfig(targets=targets)), scale=0.6)
    asked = {"max_new_tokens": 5, "num_beams": beams, "do_sample": False, "pad_token_id": 1, "eos_token_id": 2}
    given = batch(2, 6)
    expected = model.generate(**given, **asked, output_scores=True, return_dict_in_generate=True)
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    model.forward = torch.compile(model.forward, fullgraph=True, backend=counter)
    got = model.generate(**given, **asked, output_scores=True, return_dict_in_generate=True)
    assert torch.equal(got.sequences, expected.sequences)
    torch.testing.assert_close(got.scores, expected.scores)
    assert 0 < counter.frame_count <= 4


@pytest.mark.slow
def test_inductor(subjects, awake):
    model, targets, batch = subjects("llama")
    awake(inject(model, AdapterConfig(targets=targets)))
    torch._dynamo.reset()
    expected = step(model, batch(3, 9))
    torch.testing.assert_close(step(torch.compile(model, fullgraph=True), batch(3, 9)), expected, atol=1e-5, rtol=1e-3)
