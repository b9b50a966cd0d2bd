import numpy as np
import pytest
import torch

from read.adapters import alignment_states, apply_strategy
from read.adapters.inject import AlignmentStates
from read.alignment import CONTRAST_TEMPERATURE, Alignment, measured_cosines
from read.backbones import build_backbone
from read.data import Annotation, Sample
from read.errors import InputError
from read.grounding.inference import forward_batches
from read.grounding.task import Grounding
from read.transport import partial_alignment_loss, partial_distance


def sample(clips, words):
    generator = torch.Generator().manual_seed(clips)
    annotation = Annotation(clips, "q", "v", clips * 2.0, ((0, 2),), (0,), ((4,),))
    video, text = (torch.randn(*shape, generator=generator) for shape in ((clips, 6), (words, 5)))
    return Sample.labelled(video, text, annotation, 2.0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 16}
    return build_backbone("univtg", video_dim=6, text_dim=5, **sizes)


def test_plans_move_the_mass_within_the_weights(model):
    samples = [sample(4, 2), sample(7, 5)]
    model = apply_strategy("read_pvla", model)
    _ = [*forward_batches(model, samples, batch_size=64)]
    plans = Alignment(mass=0.4).plans(model)
    for plan, each in zip(plans, samples, strict=True):
        assert plan.shape == (len(each.video), len(each.text))
        assert plan.min() >= 0
        assert plan.sum() == pytest.approx(0.4, abs=1e-5)
        assert plan.sum(1).max() <= 1 / len(each.video) + 1e-5


def test_the_temperature_reaches_the_solver(model):
    model = apply_strategy("read_pvla", model)
    _ = [*forward_batches(model, [sample(7, 5)], batch_size=64)]
    blurred = [Alignment(solver="entropic", temperature=tau) for tau in (0.05, 50.0)]
    plans = [alignment.plans(model)[0] for alignment in blurred]
    assert plans[1] == pytest.approx(np.full((7, 5), 0.5 / 35), rel=0.1)
    assert plans[0].max() > 1.2 * plans[1].max()
    assert blurred[0](model) != pytest.approx(blurred[1](model).item(), rel=1e-3)


def test_a_strategy_that_does_not_align_has_no_plans(model):
    model = apply_strategy("read", model)
    _ = [*forward_batches(model, [sample(4, 2)], batch_size=64)]
    with pytest.raises(InputError):
        Alignment().plans(model)


def of_model(monkeypatch, *layers):
    """An alignment sees these layers, whatever the model."""
    monkeypatch.setattr("read.alignment.alignment_states", lambda model: [AlignmentStates(*layer) for layer in layers])


def random_layer(samples=4, clips=5, words=3, width=8):
    generator = torch.Generator().manual_seed(samples)
    video, text = (torch.randn(samples, count, width, generator=generator) for count in (clips, words))
    masks = (torch.arange(count) < torch.arange(1, samples + 1)[:, None] for count in (clips, words))
    video_mask, text_mask = masks
    return video, video_mask, text, text_mask


def contrast_by_loops(layer, vids):
    """K, by its definition, of unpadded samples one by one."""
    video, video_mask, text, text_mask = layer
    clips = [part[mask] for part, mask in zip(video, video_mask, strict=True)]
    words = [part[mask] for part, mask in zip(text, text_mask, strict=True)]
    costs = [[(1 - torch.cosine_similarity(v[:, None], w, dim=-1)).amin(0).mean() for w in words] for v in clips]
    total = 0.0
    for i, vid in enumerate(vids):
        others = [j for j, other in enumerate(vids) if other != vid]
        for way in (lambda i, j: costs[i][j], lambda i, j: costs[j][i]):
            weights = [torch.exp(-way(i, j) / CONTRAST_TEMPERATURE) for j in (i, *others)]
            total -= torch.log(weights[0] / sum(weights)) / 2
    return total / len(vids)


@pytest.mark.parametrize("vids", ["abcd", "abba", "aaaa"])
def test_contrast_tells_a_video_from_those_of_others(monkeypatch, vids):
    layer = random_layer()
    noisy = [part.masked_fill(~mask[..., None], torch.nan) for part, mask in (layer[:2], layer[2:])]
    of_model(monkeypatch, (noisy[0], layer[1], noisy[1], layer[3]))
    without, full = (Alignment(gamma=2.0, contrast=weight)(None, list(vids)) for weight in (0.0, 3.0))
    torch.testing.assert_close(full - without, 2 * 3 * torch.as_tensor(contrast_by_loops(layer, vids)))


@pytest.mark.parametrize("options", [{}, {"contrast": 1.0}, {"centred": True}])
def test_only_the_papers_form_is_content_when_all_states_are_alike(monkeypatch, options):
    """Sentences that all share one direction with all videos, beside a part that tells the samples apart."""
    torch.manual_seed(0)
    own, common = (
        torch.nn.functional.one_hot(torch.arange(4), 8).float()[:, None],
        torch.zeros(8).index_fill(0, torch.tensor(7), 1.0),
    )
    shares = torch.zeros(2, requires_grad=True)  # of the common part, of the part that is a sample's own
    losses, masks = [], torch.ones(4, 3, dtype=torch.bool)
    jitter = 0.3 * torch.randn(2, 4, 3, 8)
    optimizer = torch.optim.Adam([shares], lr=0.1)
    for _ in range(50):
        tokens = shares[0] * common + shares[1] * own + jitter
        of_model(monkeypatch, (tokens[0], masks, tokens[1], masks))
        losses.append(Alignment(gamma=1.0, mass=1.0, **options)(None))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    found = Alignment().cosines(None)
    assert losses[-1] < losses[0]
    gap = found["own_cosine"] - found["other_cosine"]
    assert gap < 0.6 if not options else gap > 0.75


def test_centred_states_forget_what_all_share(monkeypatch):
    video, video_mask, text, text_mask = random_layer()
    align = Alignment(centred=True)
    of_model(monkeypatch, (video, video_mask, text, text_mask))
    expected = align(None)
    of_model(monkeypatch, (video + 5.0, video_mask, text - 3.0, text_mask))
    torch.testing.assert_close(align(None), expected, atol=1e-5, rtol=1e-5)


def test_layers_of_one_shape_are_one_problem(monkeypatch):
    layers = [random_layer(width=8), random_layer(width=2), random_layer(clips=6)]
    of_model(monkeypatch, *layers)
    seen = []
    monkeypatch.setattr("read.alignment.partial_distance", lambda *a, **k: seen.append(1) or partial_distance(*a, **k))
    torch.testing.assert_close(
        Alignment(gamma=1.0)(None),
        torch.stack([partial_alignment_loss(v, t, vm, tm) for v, vm, t, tm in layers]).mean(),
    )
    assert len(seen) == 2


def test_gamma_rises_from_nothing(monkeypatch):
    of_model(monkeypatch, random_layer())
    full = Alignment()(None).item()
    rising = Alignment(warmup=0.25)
    assert [rising(None, None, done).item() for done in (0.0, 0.125, 0.25, 1.0)] == pytest.approx(
        [0, full / 2, full, full]
    )


def test_cosines_of_a_model_are_those_of_its_mean_states(model):
    samples = [sample(4, 2), sample(7, 5), sample(5, 3)]
    for part, vid in zip(samples, "aba", strict=True):
        object.__setattr__(part.question, "vid", vid)
    model = apply_strategy("read_pvla", model).eval()
    pooled = []
    for each in samples:
        model(each.video[None], torch.ones(1, len(each.video)) > 0, each.text[None], torch.ones(1, len(each.text)) > 0)
        pooled.append([(z.video[0].mean(0), z.text[0].mean(0)) for z in alignment_states(model)])
    pairs = {(i, j): torch.stack([
        torch.cosine_similarity(pooled[i][layer][0], pooled[j][layer][1], dim=0) for layer in range(len(pooled[0]))
    ]).mean() for i in range(3) for j in range(3)}  # fmt: skip
    found = measured_cosines(model, Grounding(), samples)
    assert found["own"] == pytest.approx(sum(pairs[i, i] for i in range(3)).item() / 3, abs=1e-5)
    other = [pairs[pair] for pair in ((0, 1), (1, 0), (1, 2), (2, 1))]
    assert found["other"] == pytest.approx(sum(other).item() / 4, abs=1e-5)
    assert measured_cosines(model, Grounding(), samples[:1]) is None


@pytest.mark.parametrize("wrong", [{"gamma": -1.0}, {"contrast": float("inf")}, {"warmup": 1.5}, {"mass": 0.0}])
def test_bad_settings(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Alignment(**wrong)
