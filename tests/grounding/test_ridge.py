"""The linear map into a joint space against least squares, and the sums that it is kept as."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from read.backbones.joint_space import JointSpace
from read.data import Annotation, Sample
from read.grounding.ridge import FOLDS, LAMBDA, STRESSES, MapSums, best_stress, fit_map, solve
from read.weights import load_tensors

DV, START, E = 7, 3, 4


def samples(count, seed=0, rotation=None):
    """Videos of three moments of three clips; what a clip shows is a rotation of its sentence, in noise."""
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.eye(E)[[1, 0, 3, 2]] if rotation is None else rotation
    found = []
    for number in range(count):
        sentences = normalize(torch.randn(3, E, generator=generator), dim=-1)
        shown = sentences.repeat_interleave(3, 0) @ rotation
        first = normalize(torch.cat((shown, torch.ones(9, 1)), 1)[:, [4, 0, 1]] + 0.1, dim=-1)
        joint = normalize(shown + 0.3 * torch.randn(9, E, generator=generator), dim=-1)
        video = torch.cat((first, joint), dim=1)
        for moment in range(3):
            window = (6.0 * moment, 6.0 * moment + 6.0)
            label = Annotation(
                qid=f"{seed}-{number}-{moment}", query="x", vid=f"{seed}-{number}", duration=18.0, windows=(window,),
                clip_ids=(), saliency=(),
            )  # fmt: skip
            found.append(Sample.labelled(video, torch.ones(1, 2), label, 2.0, sentences[moment]))
    return found


def pairs(labelled):
    clips = [sample.video[sample.targets["foreground"] > 0] for sample in labelled]
    sentences = [sample.sentence.expand(len(part), E) for sample, part in zip(labelled, clips, strict=True)]
    return torch.cat(clips).double().numpy(), torch.cat(sentences).double().numpy()


def test_the_map_is_ridge_regression():
    labelled = samples(6)
    x, y = pairs(labelled)
    centred = x - x.mean(0)
    alpha = LAMBDA * (centred**2).sum(1).mean()
    rows = np.vstack((centred, np.sqrt(alpha) * np.eye(DV)))  # as least squares with a row for each penalty
    expected = np.linalg.lstsq(rows, np.vstack((y - y.mean(0), np.zeros((DV, E)))), rcond=None)[0]
    predicted = centred @ expected
    length = np.sqrt((predicted**2).sum(1).mean())
    fitted = solve(MapSums.of(labelled, START, E))
    np.testing.assert_allclose(fitted.weight.numpy(), expected.T / length, atol=1e-9)
    mapped = x @ fitted.weight.numpy().T + fitted.bias.numpy()
    np.testing.assert_allclose(mapped, predicted / length, atol=1e-9)
    assert (mapped**2).sum(1).mean() == pytest.approx(1.0)


def test_means_are_of_all_clips_and_of_the_sentences():
    labelled = samples(3)
    fitted = solve(MapSums.of(labelled, START, E))
    clips = torch.cat([sample.video for sample in labelled[::3]])  # each video once
    torch.testing.assert_close(fitted.video_mean, clips[:, START:].double().mean(0))
    torch.testing.assert_close(fitted.sentence_mean, torch.stack([s.sentence for s in labelled]).double().mean(0))


def test_sums_add_and_leave_out(tmp_path):
    one, two = samples(2), samples(3, seed=1)
    both = MapSums.of([*one, *two], START, E)
    added = MapSums.of(one, START, E).plus(MapSums.of(two, START, E))
    for name, value in added._asdict().items():
        torch.testing.assert_close(value, getattr(both, name))
    left = both.plus(MapSums.of(two, START, E), -1)
    torch.testing.assert_close(left.xx, MapSums.of(one, START, E).xx)
    both.save(tmp_path / "sums.safetensors")
    for name, value in load_tensors(tmp_path / "sums.safetensors").items():
        assert torch.equal(value, getattr(MapSums.load(tmp_path / "sums.safetensors"), name))


def test_nothing_to_fit_leaves_the_encoder_as_it_is():
    space = JointSpace(DV, START, E)
    fit_map(space, MapSums.nothing(DV, E))
    assert not any(parameter.any() for parameter in space.parameters()) and not space.folds
    [sample] = samples(1)[:1]
    expected = sample.video[:, START:] @ sample.sentence
    torch.testing.assert_close(space.curve(sample.video[None], sample.sentence[None])[0], expected)


def test_the_map_finds_moments_of_other_videos():
    space = JointSpace(DV, START, E)
    unseen = samples(20, seed=9)

    def right():
        curves = [space.curve(sample.video[None], sample.sentence[None])[0] for sample in unseen]
        return np.mean([s.targets["foreground"][c.argmax()] for s, c in zip(unseen, curves, strict=True)])

    before = right()
    fit_map(space, MapSums.nothing(DV, E), samples(10))
    assert right() > before + 0.2


def test_a_video_is_corrected_to_the_map_that_leaves_it_out():
    labelled, source = samples(7), MapSums.of(samples(4, seed=3), START, E)
    space = JointSpace(DV, START, E)
    fit_map(space, source, labelled)
    assert space.folds.keys() == {sample.vid for sample in labelled}
    vids = sorted(space.folds)
    others = [sample for sample in labelled if sample.vid not in vids[1::FOLDS]]
    left_out = [solve(source.plus(MapSums.of(others, START, E), stress)) for stress in STRESSES]
    video = next(sample.video for sample in labelled if sample.vid == vids[1])
    got = space.map(video) + space.correction(vids[1], video)
    wanted = [(video.double() @ fitted.weight.T + fitted.bias).float() for fitted in left_out]
    assert sum(torch.allclose(got, each, atol=1e-5) for each in wanted) == 1
    assert space.correction("another", video) is None


def test_labels_of_another_domain_count_more():
    """The source shows its sentences in another rotation than the target: a map that stresses the target is nearer."""
    turned = torch.eye(E)[[2, 3, 0, 1]] * torch.tensor([1.0, -1.0, 1.0, -1.0])
    labelled = samples(10)
    space, sums = JointSpace(DV, START, E), MapSums.of(labelled, START, E)
    source = MapSums.of(samples(12, seed=5, rotation=turned), START, E)
    fit_map(space, source, labelled)
    stressed = solve(source.plus(sums, max(STRESSES)))
    torch.testing.assert_close(space.map.weight, stressed.weight.float(), atol=1e-5, rtol=1e-5)


def test_labels_count_twice_unless_others_are_better_beyond_chance():
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0])
    noise = torch.tensor([0.5, -0.5, 0.3, -0.2])
    assert best_stress(dict.fromkeys(STRESSES, losses)) == best_stress({}) == STRESSES[0] == 2
    assert best_stress({2.0: losses, 1.0: losses - noise, 4.0: losses + noise}) == 2
    assert best_stress({2.0: losses, 1.0: losses - 0.1, 4.0: losses - 0.2}) == 4


def test_one_labelled_video_is_fitted_to_without_folds():
    space = JointSpace(DV, START, E)
    fit_map(space, MapSums.nothing(DV, E), samples(1))
    assert space.map.weight.any() and not space.folds
