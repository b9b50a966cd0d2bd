"""One adapted model that several threads call at a time."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from read.adapters import AdapterConfig, alignment_states, apply_strategy, inject
from read.errors import InputError

FORMS = [{"mixer": "gru", "bidirectional": True}, {"mixer": "conv", "placement": "parallel", "after": "attention"}]


def in_two_threads(work, rounds):
    """What `work(i)` gives for many i, by two threads that take turns within the layers of a model."""
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(work, range(rounds)))


@pytest.mark.parametrize("form", FORMS)
def test_threads_have_their_own_masks_and_states(univtg, batches, awake, quick_turns, form):
    model = awake(apply_strategy("read_pvla", univtg(), **form))
    lengths = [((7, 4, 1), (2, 5, 3)), ((3, 7, 6), (5, 1, 4))]
    inputs = [batches(clips, words, seed) for seed, (clips, words) in enumerate(lengths)]

    @torch.no_grad()
    def work(i):
        spans = model(**inputs[i % 2])["spans"]
        return spans, alignment_states(model)[1]

    expected = [work(0), work(1)]
    for i, got in enumerate(in_two_threads(work, 60)):
        torch.testing.assert_close(got, expected[i % 2], atol=1e-6, rtol=1e-6)


def test_threads_generate_with_their_own_caches(transformer, awake, quick_turns):
    model, inputs = transformer("bart")
    awake(inject(model, AdapterConfig(mixer="gru")), scale=0.6)
    shorter = {key: inputs[key][1:2, :5] for key in ("input_ids", "attention_mask")}
    longer = {key: inputs[key][[0, 2]] for key in ("input_ids", "attention_mask")}

    def work(i):
        asked = {"max_new_tokens": 6, "num_beams": 3 - i % 2, "output_scores": True, "return_dict_in_generate": True}
        given = model.generate(**(shorter, longer)[i % 2], **asked)
        return given.sequences, given.scores

    expected = [work(0), work(1)]
    for i, got in enumerate(in_two_threads(work, 8)):
        torch.testing.assert_close(got, expected[i % 2], atol=1e-5, rtol=1e-5)


def test_checkpoints_recompute_with_their_threads_masks(univtg, batches, awake, quick_turns):
    model = awake(inject(univtg(drop_path=0.0, input_dropout=0.0).train()))
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    for layer in model.transformer.encoder.layers:
        layer.forward = _Checkpointed(layer)
    inputs = [batches(seed=1), batches((3, 7, 6), (5, 1, 4), 2)]

    def work(i):
        loss = model(**inputs[i % 2])["spans"].square().sum()
        return torch.autograd.grad(loss, [model.get_parameter(name) for name in names])

    expected = [work(0), work(1)]
    for i, got in enumerate(in_two_threads(work, 20)):
        torch.testing.assert_close(got, expected[i % 2], atol=1e-6, rtol=1e-5)


class _Checkpointed:
    def __init__(self, layer):
        self.forward = layer.forward

    def __call__(self, *args):
        return checkpoint(self.forward, *args, use_reentrant=False)


def test_a_backward_pass_in_another_thread_finds_the_call(univtg, batch, awake):
    """As on a GPU, whose backward passes are made by threads of torch's own."""
    model = awake(inject(univtg(drop_path=0.0, input_dropout=0.0).train()))
    model(**batch)["spans"].square().sum().backward()
    expected = [value.grad for value in model.parameters() if value.requires_grad]
    model.zero_grad()
    for layer in model.transformer.encoder.layers:
        layer.forward = _Checkpointed(layer)
    loss = model(**batch)["spans"].square().sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    torch.testing.assert_close([value.grad for value in model.parameters() if value.requires_grad], expected)


def replica_of(module):
    """What nn.DataParallel makes of a module for each of its devices."""
    replica = module._replicate_for_data_parallel()
    for name, value in module._parameters.items():
        setattr(replica, name, None if value is None else value.detach().clone())
    for name, child in module._modules.items():
        replica._modules[name] = None if child is None else replica_of(child)
    return replica


def test_a_replica_computes_with_its_own_copy_of_the_adapter(univtg, batch, awake):
    model = awake(inject(univtg()))
    replica = replica_of(model)
    expected = model(**batch)["spans"]
    torch.testing.assert_close(replica(**batch)["spans"], expected)
    with torch.no_grad():  # the copy is of before
        for value in model.adapters.parameters():
            value.zero_()
    torch.testing.assert_close(replica(**batch)["spans"], expected)
    assert not torch.equal(model(**batch)["spans"], expected)


def test_states_are_those_of_the_thread_that_made_them(univtg, batch):
    model = apply_strategy("read_pvla", univtg())
    with ThreadPoolExecutor(1) as thread:
        thread.submit(model, **batch).result()
        assert len(thread.submit(alignment_states, model).result()) == 4
    with pytest.raises(InputError, match="has not run in this thread"):
        alignment_states(model)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_serve_threads_too(univtg, batch, awake, again):
    model = awake(inject(univtg(), AdapterConfig(placement="parallel")))
    expected = model(**batch)["spans"]
    with ThreadPoolExecutor(1) as thread:
        assert torch.equal(thread.submit(again(model), **batch).result()["spans"], expected)
