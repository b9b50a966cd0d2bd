"""How much is compared to find copies: told by counts, whatever the features are."""

from itertools import combinations

import pytest
import torch

from read.data.candidates import PROPOSED, CentredVideos, candidates
from read.data.copies import find_twins
from read.data.leaks import one_for_copies

DIM, CLIPS, COPIED = 24, 20, 10


class Counting:
    """Features by video, and how often one was read."""

    def __init__(self, videos):
        self.videos, self.reads = videos, 0

    def video(self, vid):
        self.reads += 1
        return self.videos[vid]


def normal(generator, *shape):
    return torch.randn(shape, generator=generator)


def shown(generator, scenes, noise):
    """Clips that each show one of some scenes."""
    picked = torch.randint(len(scenes), (CLIPS,), generator=generator)
    return 3 + scenes[picked] + noise * normal(generator, CLIPS, DIM)


FEATURES = {
    "of scenes of its own": lambda dice, _: shown(dice, normal(dice, 6, DIM), 0.3),
    "above zero, with much in common": lambda dice, _: 100 + shown(dice, normal(dice, 6, DIM), 0.3).abs(),
    "of 40 scenes that all share": lambda dice, common: shown(dice, common, 0.3),
    "of 12 scenes that all share": lambda dice, common: shown(dice, common[:12], 0.05),
    "one-hot": lambda dice, _: torch.eye(DIM)[torch.randint(DIM, (CLIPS,), generator=dice)],
    "of rank 3": lambda dice, common: 3 + normal(dice, CLIPS, 3) @ common[:3],
    "of rank 1": lambda dice, common: 3 + normal(dice, CLIPS, 1) @ common[:1],
    "black by half": lambda dice, common: torch.where(
        torch.rand(CLIPS, 1, generator=dice) < 0.5, common[0], shown(dice, normal(dice, 6, DIM), 0.3)
    ),
    "the same": lambda dice, common: common[:1].expand(CLIPS, DIM),
}
BLIND = {"of rank 3", "of rank 1", "the same"}  # in these nothing stands out


def library(kind, count):
    """That many videos, and copies of the first ten, coded again and without their first clips."""
    dice = torch.Generator().manual_seed(0)
    common = normal(dice, 40, DIM)
    videos = {f"v{number:04d}": FEATURES[kind](dice, common) for number in range(count)}
    for number in range(COPIED):
        clips = videos[f"v{number:04d}"][number % 3 :]
        videos[f"copy{number}"] = clips + 0.1 * clips.std(dim=0).mean() * normal(dice, *clips.shape)
    return videos


@pytest.mark.parametrize("kind", FEATURES)
def test_a_video_is_proposed_with_few_others_whatever_the_features_are(kind):
    videos = library(kind, 300)
    names = sorted(videos)
    counted = Counting(videos)
    pairs = [*candidates(CentredVideos(counted, names))]
    assert len(pairs) == len(set(pairs)) <= 2 * PROPOSED * len(names)
    assert all(0 <= one < other < len(names) for one, other in pairs)
    assert counted.reads <= 2 * len(names)
    found = {f"copy{number}" for number in range(COPIED) if (number, COPIED + number) in pairs}
    assert kind in BLIND or len(found) == COPIED


def test_in_a_crowd_the_parts_that_go_on_alike_are_compared():
    """Of thousands of videos that share each picture, only the order of these tells a copy."""
    videos = library("one-hot", 2000)
    parts = {f"copy{number}": videos[f"copy{number}"][:8] for number in range(COPIED)}
    videos |= parts
    pairs = {*candidates(CentredVideos(Counting(videos), sorted(videos)))}
    assert sum((number, COPIED + number) in pairs for number in range(COPIED)) >= COPIED - 1


def test_many_copies_of_one_video_are_one_family():
    videos = library("of scenes of its own", 60)
    dice = torch.Generator().manual_seed(1)
    clips = videos["v0050"]
    parts = {f"again{number}": clips[number % 8 :] for number in range(60)}
    family = {vid: part + 0.1 * normal(dice, *part.shape) for vid, part in parts.items()}
    twins = find_twins(Counting(videos | family), videos | family)
    recording = one_for_copies(twins)
    assert len({recording(vid) for vid in [*family, "v0050"]}) == 1
    assert {frozenset((pair.one, pair.other)) for pair in twins if not {pair.one, pair.other} & {*family}} == {
        frozenset((f"copy{number}", f"v{number:04d}")) for number in range(COPIED)
    }


@pytest.mark.parametrize("count", [20, 60])
def test_what_many_videos_show_makes_no_copies(count):
    """A card at the end of all, as long as a stretch by which copies are told."""
    videos = library("of scenes of its own", count)
    dice = torch.Generator().manual_seed(1)
    card = 3 + normal(dice, 1, DIM)
    with_card = {vid: torch.cat([clips, card + 0.02 * normal(dice, 8, DIM)]) for vid, clips in videos.items()}
    found = {frozenset((pair.one, pair.other)) for pair in find_twins(Counting(with_card), with_card)}
    assert found == {frozenset((f"copy{number}", f"v{number:04d}")) for number in range(COPIED)}


def test_what_few_videos_show_makes_copies():
    videos = library("of scenes of its own", 60)
    for number in range(20, 23):
        videos[f"v{number:04d}"] = torch.cat([videos[f"v{number:04d}"], videos["v0019"][:8]])
    found = {(pair.one, pair.other) for pair in find_twins(Counting(videos), videos)}
    assert {*combinations([f"v{number:04d}" for number in range(19, 23)], 2)} <= found


def test_each_video_is_read_three_times_and_once_for_each_comparison():
    videos = library("of 40 scenes that all share", 100)
    counted = Counting(videos)
    pairs = len([*candidates(CentredVideos(Counting(videos), sorted(videos)))])
    find_twins(counted, videos)
    assert counted.reads <= 3 * len(videos) + 2 * pairs


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e25])
def test_the_scale_of_features_does_not_matter(scale):
    videos = library("of scenes of its own", 60)
    expected = [(pair.one, pair.other) for pair in find_twins(Counting(videos), videos)]
    scaled = {vid: clips * scale for vid, clips in videos.items()}
    assert [(pair.one, pair.other) for pair in find_twins(Counting(scaled), scaled)] == expected
    assert len(expected) == COPIED


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_any_type_of_numbers_will_do(dtype):
    videos = library("of scenes of its own", 60)
    other = {vid: clips.to(dtype) for vid, clips in videos.items()}
    pairs = [{(pair.one, pair.other) for pair in find_twins(Counting(each), each)} for each in (videos, other)]
    assert pairs[0] == pairs[1]
