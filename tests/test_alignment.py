import numpy as np
import pytest
import torch

from read.adapters import apply_strategy
from read.alignment import Alignment
from read.backbones import build_backbone
from read.data import Annotation, Sample
from read.errors import InputError
from read.grounding.inference import forward_batches


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
