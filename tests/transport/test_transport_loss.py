"""The alignment losses: masks, gradients, dtypes, baselines."""

import subprocess
import sys

import ot
import pytest
import torch
from torch.nn.functional import cosine_similarity

from read.transport import Solver, mean_pooled_loss, pairwise_cost, partial_alignment_loss

LENGTHS = ((9, 5), (1, 7), (6, 1), (4, 7))


def padded(fill=0.0, dtype=torch.float64, width=6):
    """A batch of samples of different lengths, whose padding holds `fill`."""
    generator = torch.Generator().manual_seed(0)
    samples = [tuple(torch.randn(n, width, generator=generator, dtype=torch.float64) for n in pair) for pair in LENGTHS]
    tokens, masks = [], []
    for side in (0, 1):
        length = max(pair[side] for pair in LENGTHS)
        batch = torch.full((len(LENGTHS), length, width), fill, dtype=dtype)
        mask = torch.zeros(len(LENGTHS), length, dtype=torch.bool)
        for k, sample in enumerate(samples):
            batch[k, : len(sample[side])] = sample[side]
            mask[k, : len(sample[side])] = True
        tokens.append(batch.requires_grad_())
        masks.append(mask)
    return samples, *tokens, *masks


@pytest.mark.parametrize("solver", ["exact", "entropic", "paper"])
@pytest.mark.parametrize("cost", ["cosine", "sqeuclidean", "l2"])
@pytest.mark.parametrize("fill", [0.0, 1e3, float("nan"), float("inf")])
def test_padding_changes_neither_loss_nor_gradient(solver, cost, fill):
    samples, video, text, video_mask, text_mask = padded(fill)
    losses = partial_alignment_loss(video, text, video_mask, text_mask, 0.6, cost, Solver(solver, 0.5), "none")
    losses.sum().backward()
    for k, (v, t) in enumerate(samples):
        v, t = v[None].requires_grad_(), t[None].requires_grad_()
        alone = partial_alignment_loss(v, t, mass=0.6, cost=cost, solver=Solver(solver, 0.5))
        alone.backward()
        # The iterative solvers hold to their tolerance; a batch goes on until its slowest sample does.
        tolerance = 1e-12 if solver == "exact" else 1e-5
        torch.testing.assert_close(losses[k], alone, rtol=0, atol=tolerance)
        for batch, sample, mask in ((video, v, video_mask), (text, t, text_mask)):
            torch.testing.assert_close(batch.grad[k][mask[k]], sample.grad[0], rtol=0, atol=tolerance)
            assert (batch.grad[k][~mask[k]] == 0).all()


@pytest.mark.parametrize("cost", ["cosine", "sqeuclidean", "l2"])
def test_costs_are_those_of_pot(cost):
    generator = torch.Generator().manual_seed(0)
    v, t = (torch.randn(1, n, 8, generator=generator, dtype=torch.float64) for n in (7, 5))
    expected = ot.dist(v[0], t[0], metric={"l2": "euclidean"}.get(cost, cost))
    torch.testing.assert_close(pairwise_cost(v, t, cost)[0], expected)


@pytest.mark.parametrize("cost", ["cosine", "sqeuclidean", "l2"])
@pytest.mark.parametrize("words", ["the same", "others"])
def test_zero_and_equal_tokens_give_bounded_gradients(cost, words):
    video = torch.zeros(1, 4, 3, requires_grad=True)
    text = torch.full((1, 2, 3), 0.0 if words == "the same" else 1.0, requires_grad=True)
    partial_alignment_loss(video, text, cost=cost).backward()
    assert video.grad.abs().max() < 10 and text.grad.abs().max() < 10


@pytest.mark.parametrize("solver", ["exact", "entropic"])
def test_gradcheck_down_to_the_tokens(solver):
    _, video, text, video_mask, text_mask = padded(width=3)

    def loss(v, t):
        return partial_alignment_loss(v, t, video_mask, text_mask, 0.55, solver=Solver(solver, 0.5))

    assert torch.autograd.gradcheck(loss, (video, text), atol=1e-5)


@pytest.mark.parametrize(("cost", "solver"), [("cosine", "exact"), ("sqeuclidean", "entropic")])
def test_second_derivatives_are_an_error(cost, solver):
    """The plan moves with the tokens, which the envelope theorem makes no difference to for the first ones only."""
    _, video, text, video_mask, text_mask = padded()
    loss = partial_alignment_loss(video, text, video_mask, text_mask, cost=cost, solver=Solver(solver, 2.0))
    (gradient,) = torch.autograd.grad(loss, video, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives"):
        gradient.square().sum().backward()


def test_descending_the_loss_aligns_only_the_part_that_is_transported():
    text = torch.eye(2)[None]
    video = torch.nn.Parameter(torch.tensor([[[1.0, 0.1], [0.1, 1.0], [-1.0, 0.1], [0.1, -1.0]]]))
    before = video.detach().clone()
    optimizer = torch.optim.SGD([video], lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        loss = partial_alignment_loss(video, text, mass=0.5)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3
    assert torch.equal(video[0, 2:], before[0, 2:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_and_autocast_solve_in_full(dtype):
    _, video, text, video_mask, text_mask = padded(dtype=dtype)
    plain = partial_alignment_loss(video, text, video_mask, text_mask)
    with torch.autocast("cpu", torch.bfloat16):
        cast = partial_alignment_loss(video, text, video_mask, text_mask)
    plain.backward()
    assert plain.dtype == torch.float32 and video.grad.dtype == dtype
    torch.testing.assert_close(plain, cast)


def test_reductions():
    _, video, text, video_mask, text_mask = padded()
    for loss in (partial_alignment_loss, mean_pooled_loss):
        each = loss(video, text, video_mask, text_mask, reduction="none")
        assert each.shape == (len(LENGTHS),)
        torch.testing.assert_close(loss(video, text, video_mask, text_mask), each.mean())
        torch.testing.assert_close(loss(video, text, video_mask, text_mask, reduction="sum"), each.sum())


def test_full_mass_is_balanced_transport():
    samples, video, text, video_mask, text_mask = padded()
    losses = partial_alignment_loss(video, text, video_mask, text_mask, mass=1.0, cost="sqeuclidean", reduction="none")
    for got, (v, t) in zip(losses, samples, strict=True):
        assert got.item() == pytest.approx(ot.emd2([], [], ot.dist(v, t).numpy()), abs=1e-9)


def test_mean_pooling_ignores_padding():
    samples, video, text, video_mask, text_mask = padded(float("nan"))
    cosine = mean_pooled_loss(video, text, video_mask, text_mask, reduction="none")
    distance = mean_pooled_loss(video, text, video_mask, text_mask, "l2", "none")
    for k, (v, t) in enumerate(samples):
        torch.testing.assert_close(cosine[k], 1 - cosine_similarity(v.mean(0), t.mean(0), dim=0))
        torch.testing.assert_close(distance[k], (v.mean(0) - t.mean(0)).norm())


def test_importing_the_room_does_not_import_pot():
    code = "import sys, read.transport; sys.exit(any(m in sys.modules for m in ('ot', 'transformers', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.gpu
@pytest.mark.parametrize("solver", ["exact", "entropic", "paper"])
def test_the_gpu_agrees_with_the_cpu(solver):
    _, *arguments = padded()
    there = [x.detach().cuda().requires_grad_(x.is_floating_point()) for x in arguments]
    options = {"mass": 0.6, "solver": Solver(solver, 0.3)}
    expected, got = partial_alignment_loss(*arguments, **options), partial_alignment_loss(*there, **options)
    expected.backward()
    got.backward()
    torch.testing.assert_close(got.cpu(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(there[0].grad.cpu(), arguments[0].grad, rtol=0, atol=1e-5)


@pytest.mark.gpu
def test_the_exact_solver_waits_for_the_gpu_only_where_it_says_so():
    _, *arguments = padded()
    there = [x.detach().cuda().requires_grad_(x.is_floating_point()) for x in arguments]
    torch.cuda.set_sync_debug_mode("error")  # of any wait but the one that is asked for by name
    try:
        partial_alignment_loss(*there, mass=0.6).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert there[0].grad.isfinite().all()
