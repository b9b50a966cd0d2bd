"""Injected models under autocast, gradient checkpointing and DistributedDataParallel."""

import copy
import sys
from collections import namedtuple

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from read.adapters import AdapterConfig, alignment_states, apply_strategy, inject

Segment = namedtuple("Segment", "modality start stop mask")
FORMS = [
    {"mixer": "gru", "bidirectional": True},
    {"mixer": "lstm", "placement": "parallel", "after": ("attention", "feed_forward")},
    {"mixer": "conv"},
    {
        "mixer": "mingru",
        "placement": "low_rank",
        "bidirectional": True,
        "scale": 0.3,
        "after": ("attention", "feed_forward"),
    },
]


def loss_of(outputs):
    return outputs["spans"].square().sum() + outputs["scores"].sum()


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def steady(univtg, **settings):
    return univtg(drop_path=0.0, input_dropout=0.0, **settings).train()


class Encoder(nn.Module):
    """A user's own model of torch's layers; it offers what a backbone does."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)

    def feed_forward_blocks(self):
        return {f"layers.layers.{i}.linear2": layer.linear2 for i, layer in enumerate(self.layers.layers)}

    def attention_blocks(self):
        return {f"layers.layers.{i}.self_attn": layer.self_attn for i, layer in enumerate(self.layers.layers)}

    def segments(self, mask):
        return [Segment("video", 0, mask.shape[1], mask)]

    def forward(self, tokens, mask):
        return self.layers(tokens, src_key_padding_mask=~mask)[mask]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMS)
def test_autocast(awake, form, dtype):
    model = awake(inject(Encoder(), AdapterConfig(**form)))
    tokens, mask = torch.randn(3, 7, 32), torch.arange(7) < torch.tensor([[7], [4], [1]])
    full = model(tokens, mask).square().sum()
    full.backward()
    expected = gradients(model)
    model.zero_grad()
    with torch.autocast("cpu", dtype=dtype):
        half = model(tokens, mask).square().sum()
    half.backward()
    assert half.item() == pytest.approx(full.item(), rel=0.05)
    for name, gradient in gradients(model).items():
        assert gradient.dtype == torch.float32
        assert torch.cosine_similarity(gradient.flatten(), expected[name].flatten(), dim=0) > 0.9


def test_autocast_of_the_backbone(univtg, batch, awake):
    model = awake(inject(steady(univtg)))
    full = model(**batch)["spans"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(**batch)["spans"]
    torch.testing.assert_close(half, full, atol=0.1, rtol=0.1)


def test_a_model_in_half_precision(awake):
    model = awake(inject(Encoder().bfloat16()))
    tokens, mask = torch.randn(3, 7, 32).bfloat16(), torch.arange(7) < torch.tensor([[7], [4], [1]])
    assert model(tokens, mask).dtype == torch.bfloat16


def checkpointed(model, reentrant):
    for layer in model.transformer.encoder.layers:
        layer.forward = _Checkpointed(layer, reentrant)
    return model


class _Checkpointed:
    def __init__(self, layer, reentrant):
        self.forward, self.reentrant = layer.forward, reentrant

    def __call__(self, *args):
        return checkpoint(self.forward, *args, use_reentrant=self.reentrant)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(univtg, batch, awake, form, reentrant):
    model = awake(inject(steady(univtg), AdapterConfig(**form)))
    batch["video"].requires_grad_(True)  # a reentrant checkpoint wants an input with a gradient
    loss_of(model(**batch)).backward()
    expected = gradients(model)
    model.zero_grad()
    checkpointed(model, reentrant)
    for _ in range(2):
        model.zero_grad()
        loss = loss_of(model(**batch))
        with torch.no_grad():  # a look at other data before the backward pass
            model.eval()(**{key: value[:2] for key, value in batch.items()})
            model.train()
        loss.backward()
        torch.testing.assert_close(gradients(model), expected)


def test_checkpointing_keeps_the_states_to_align(univtg, batch, awake):
    model = awake(apply_strategy("read_pvla", steady(univtg), mixer="rnn"))

    def loss():
        outputs = model(**batch)
        return loss_of(outputs) + sum(state.video.square().sum() for state in alignment_states(model))

    loss().backward()
    expected = gradients(model)
    model.zero_grad()
    checkpointed(model, reentrant=False)
    loss().backward()
    torch.testing.assert_close(gradients(model), expected)


def test_two_forward_passes_before_one_checkpointed_backward(univtg, batches, awake):
    """A recomputed layer cannot tell whose masks it needs: equal ones are fine, others an error."""
    model = checkpointed(awake(inject(steady(univtg))), reentrant=False)
    first, second = batches(seed=1), batches(seed=2)
    (loss_of(model(**first)) + loss_of(model(**second))).backward()
    other = batches(clips=(7, 6, 6), words=(5, 5, 1))
    with pytest.raises(RuntimeError, match="two forward passes"):
        (loss_of(model(**first)) + loss_of(model(**other))).backward()
    loss_of(model(**first)).backward()


def _worker(rank, meeting, model, batch, results):
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    parallel = DistributedDataParallel(model)
    mine = {key: value[2 * rank : 2 * rank + 2] for key, value in batch.items()}
    loss_of(parallel(**mine)).backward()
    results[rank] = {name: gradient.numpy() for name, gradient in gradients(model).items()}
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo")
def test_two_processes_get_the_mean_gradient(univtg, batches, awake, tmp_path):
    model = univtg(drop_path=0.0, input_dropout=0.0)  # eval: the gradient is of one loss
    inject(model, AdapterConfig(), "idle")
    awake(inject(model, AdapterConfig(), "busy"))
    batch = batches(clips=(7, 7, 7, 7), words=(5, 5, 5, 5))
    with mp.get_context("spawn").Manager() as manager:
        results = manager.dict()
        mp.spawn(_worker, (tmp_path / "meeting", copy.deepcopy(model), batch, results), nprocs=2)
        first, second = results[0], results[1]
    loss_of(model(**batch)).backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(torch.from_numpy(first[name]), torch.from_numpy(second[name]))
        torch.testing.assert_close(torch.from_numpy(first[name]), gradient / 2, atol=1e-5, rtol=1e-4)
