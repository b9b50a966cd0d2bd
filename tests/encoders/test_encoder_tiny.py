"""Training of the small encoders on made-up videos: two scenes, two directions."""

import numpy as np
import pytest
import torch

from read.encoders.frames import write_video
from read.encoders.tiny import LabelledSegment, load_footage, recolour, train_clip, train_slowfast
from read.errors import InputError

WORDS = ["stripes", "checks"]


def moving(rng, word, direction, count):
    """A wall that moves two pixels a frame."""
    rows, columns = np.mgrid[:96, :192] // 12
    pattern = (columns if word == "stripes" else rows + columns) % 2
    wall = 50 + 120 * pattern[..., None] + rng.integers(0, 50, (96, 192, 3))
    for step in range(count):
        shift = 2 * (step if direction == "left" else count - step)
        yield wall[:, shift : shift + 128].astype(np.uint8)


def make_segments(folder, seed):
    """Eight videos of two segments of 2.5 s."""
    rng, made = np.random.default_rng(seed), []
    for number in range(8):
        path, images = folder / f"{number}.mp4", []
        for part, direction in enumerate(rng.permutation(["left", "right"])):
            word = str(rng.choice(WORDS))
            images += moving(rng, word, direction, 20)
            made.append(LabelledSegment(path, 2.5 * part, 2.5 * part + 2.5, f"{word} move {direction}", str(direction)))
        write_video(path, images, 8)
    return made


@pytest.fixture(scope="module")
def segments(tmp_path_factory):
    return make_segments(tmp_path_factory.mktemp("seen"), 0)


@pytest.fixture(scope="module")
def footage(segments):
    return load_footage(reversed(segments), 8, 64)


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    return load_footage(make_segments(tmp_path_factory.mktemp("unseen"), 1), 8, 64)


def test_footage_holds_each_segment(footage, segments):
    assert footage.segments == segments
    assert footage.frames.shape == (16 * 20, 64, 64, 3)
    assert footage.count.tolist() == [20] * 16
    assert footage.first.tolist() == list(range(0, 320, 20))


def test_samples_stay_inside_their_segment(footage):
    torch.manual_seed(0)
    chosen, clips = footage.sample(64, 16, torch.device("cpu"))
    assert clips.shape == (64, 16, 64, 64, 3)
    for index, clip in zip(chosen.tolist(), clips, strict=True):
        own = footage.frames[footage.first[index] : footage.first[index] + 20]
        assert any(torch.equal(clip, own[start : start + 16]) for start in range(5))


def test_short_segments_go_on_with_their_last_frame(footage):
    chosen, clips = footage.sample(4, 25, torch.device("cpu"))
    last = footage.frames[footage.first[chosen] + 19]
    assert all(torch.equal(clips[:, step], last) for step in range(19, 25))


def test_segments_outside_their_video_are_refused(segments):
    late = LabelledSegment(segments[0].video, 4.0, 9.0, "late", "left")
    with pytest.raises(InputError, match=r"0\.mp4: no frames from 4\.0 to 9\.0 s"):
        load_footage([late], 8, 64)
    with pytest.raises(InputError, match="no labelled segments"):
        load_footage([], 8, 64)


def test_recolouring_keeps_range_and_differs_between_clips():
    torch.manual_seed(0)
    recoloured = recolour(torch.full((3, 2, 4, 4, 3), 128, dtype=torch.uint8))
    assert recoloured.min() >= 0
    assert recoloured.max() <= 255
    assert recoloured.flatten(1, 3).std(1).max() == 0, "one gain and shift for a whole clip"
    assert len(recoloured[:, 0, 0, 0].flatten().unique()) == 9


def test_clip_learns_words(footage, unseen):
    clip = train_clip(footage, steps=40, batch=32)
    images = clip.normalise(unseen.frames[unseen.first])
    with torch.inference_mode():
        texts = clip.model.encode_text(clip.tokens([f"{word} move left" for word in WORDS]), normalize=True)
        found = (clip.model.encode_image(images) @ texts.T).argmax(1).tolist()
    right = [segment.text.startswith(WORDS[index]) for index, segment in zip(found, unseen.segments, strict=True)]
    assert np.mean(right) >= 0.9


def test_slowfast_learns_directions(footage, unseen):
    slowfast = train_slowfast(footage, 16, steps=40, batch=16)
    seen, new = (slowfast.video(part.frames.unflatten(0, (16, 20))[:, :16].numpy()) for part in (footage, unseen))
    labels, expected = ([segment.label for segment in part.segments] for part in (footage, unseen))
    nearest = ((new[:, None] - seen) ** 2).sum(-1).argmin(1)
    assert np.mean([labels[index] == label for index, label in zip(nearest, expected, strict=True)]) >= 0.9


@pytest.mark.parametrize("train", [train_clip, lambda footage, **options: train_slowfast(footage, 16, **options)])
def test_seeds_decide_the_weights(footage, train):
    digests = [train(footage, steps=3, batch=8, seed=seed).identity["weights"] for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("train", [train_clip, lambda footage, **options: train_slowfast(footage, 16, **options)])
def test_a_loss_that_is_not_a_number_stops(footage, train):
    with pytest.raises(InputError, match="the loss is"):
        train(footage, steps=10, batch=8, learning_rate=1e30)
