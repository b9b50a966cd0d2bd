import itertools
import json
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from read.data.candidates import _unit
from read.data.copies import Twins, _diagonals, _Lines, find_twins, likeness
from read.data.leaks import check_leaks, youtube_id
from read.encoders.frames import iter_clips
from read.encoders.program import ffmpeg_binary
from read.errors import InputError

DIM = 24


class Store:
    """Features by video, as they are read: normalised."""

    def __init__(self, videos):
        self.videos = {vid: torch.nn.functional.normalize(clips, dim=-1) for vid, clips in videos.items()}

    def video(self, vid):
        return self.videos[vid]


def film(seed, clips=20, scenes=6):
    """Random features with something that all share: each clip shows one of some scenes, and a little of its own."""
    rng = torch.Generator().manual_seed(seed)
    shown = torch.randn(scenes, DIM, generator=rng)[torch.randint(scenes, (clips,), generator=rng)]
    return 3 + shown + 0.3 * torch.randn(clips, DIM, generator=rng)


def noisy(clips, amount, seed=0):
    return clips + amount * torch.randn(clips.shape, generator=torch.Generator().manual_seed(seed))


def pairs(twins):
    return {frozenset((pair.one, pair.other)) for pair in twins}


def test_no_leaks():
    check_leaks({"train": ["a", "b"], "val": ["c"], "test": ["d"], "source": []}, [Twins("a", "b", 1.0)])


def test_every_leak_is_listed_with_sides_and_reason():
    sides = {
        "train": ["a", "sTEELN-vY30_60.0_210.0", "x"],
        "val": ["a", "y"],
        "test": ["sTEELN-vY30_210.0_360.0", "z"],
    }
    with pytest.raises(InputError) as caught:
        check_leaks(sides, [Twins("z", "y", 0.95), Twins("y", "x", 0.9), Twins("a", "x", 1.0)])
    message = str(caught.value)
    for line in (
        "a (train) and a (val): the same video",
        "sTEELN-vY30_60.0_210.0 (train) and sTEELN-vY30_210.0_360.0 (test): both are cut from sTEELN-vY30",
        "y (val) and z (test): their features are near-identical (cosine 0.950)",
        "x (train) and y (val): their features are near-identical (cosine 0.900)",
    ):
        assert line in message
    assert "5 leaks" in message  # with x (train) and a (val)
    assert "remove one from the annotations" in message


def test_a_long_list_is_cut_short():
    videos = [f"v{number}" for number in range(50)]
    with pytest.raises(InputError, match=r"50 leaks[^$]*and 30 more"):
        check_leaks({"train": videos, "test": videos})


def test_a_pair_with_two_reasons_is_one_leak():
    cuts = [f"{'x' * 11}_{start}_{start + 150}" for start in (0, 150)]
    with pytest.raises(InputError, match="1 leaks"):
        check_leaks({"train": cuts[:1], "test": cuts[1:]}, [Twins(*cuts, 0.99)])


@pytest.mark.parametrize(
    ("vid", "of"),
    [
        ("_6hnl_BrFvs_360.0_510.0", "_6hnl_BrFvs"),
        ("sTEELN-vY30_0_150", "sTEELN-vY30"),
        ("sTEELN-vY30", "sTEELN-vY30"),
        ("3MSZA", "3MSZA"),
        ("target_train_0001", "target_train_0001"),
        ("walk_1_2", "walk_1_2"),
    ],
)
def test_youtube_id(vid, of):
    assert youtube_id(vid) == of


@given(st.lists(st.sampled_from("abcdefgh"), max_size=6), st.lists(st.sampled_from("abcdefgh"), max_size=6))
def test_the_same_video_is_found_wherever_it_stands(left, right):
    if set(left) & set(right):
        with pytest.raises(InputError, match=f"{len(set(left) & set(right))} leaks"):
            check_leaks({"train": left, "test": right})
    else:
        check_leaks({"train": left, "test": right})


@pytest.fixture(scope="module")
def films():
    return {f"v{number}": film(number) for number in range(36)}


def test_other_films_are_no_twins(films):
    assert find_twins(Store(films), films) == []


@pytest.mark.parametrize(
    "copied",
    [
        lambda clips: clips,
        lambda clips: noisy(clips, 0.3),  # encoded again
        lambda clips: clips[1:],
        lambda clips: clips[:-3],
        lambda clips: noisy(clips[2:-1], 0.2),
        lambda clips: (clips[1:] + clips[:-1]) / 2,  # half a clip later
        lambda clips: noisy((clips[3:] + clips[2:-1]) / 2, 0.1),
    ],
)
def test_copies_are_twins(films, copied):
    found = find_twins(Store(films | {"copy": copied(films["v7"])}), [*films, "copy"])
    assert pairs(found) == {frozenset(("v7", "copy"))}
    assert 0.8 <= found[0].similarity <= 1


def test_films_of_the_same_scenes_in_another_order_are_no_twins(films):
    clips = films["v3"]
    for seed in range(2):
        other = clips[torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))]
        assert find_twins(Store(films | {"remix": noisy(other, 0.2)}), [*films, "remix"]) == []


@pytest.mark.parametrize(
    "part",
    [
        lambda clips, other: clips[:5],
        lambda clips, other: clips[10:],
        lambda clips, other: torch.cat([other[:8], noisy(clips[4:12], 0.2), other[8:]]),
        lambda clips, other: noisy((clips[3:12] + clips[2:11]) / 2, 0.1),  # half a clip later
    ],
    ids=["the first 10 s", "the second half", "inside another", "from within a clip"],
)
def test_a_part_of_another_is_a_copy(films, part):
    made = part(films["v3"], film(99))
    assert pairs(find_twins(Store(films | {"part": made}), [*films, "part"])) == {frozenset(("v3", "part"))}


@pytest.mark.parametrize("speed", [1.25, 0.8])
def test_a_video_at_another_speed_is_a_copy(films, speed):
    """Each clip shows what lies in the stretch of time that it covers then."""
    clips = films["v3"].repeat_interleave(20, dim=0)  # twenty pictures a clip
    length = int(20 * speed)
    faster = torch.stack([part.mean(dim=0) for part in clips.split(length) if len(part) == length])
    assert pairs(find_twins(Store(films | {"fast": faster}), [*films, "fast"])) == {frozenset(("v3", "fast"))}


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(8)), st.integers(0, 9))
def test_twins_do_not_depend_on_order(order, seed):
    films = {f"v{number}": film(100 * seed + number) for number in range(6)}
    films |= {"v6": noisy(films["v1"], 0.1), "v7": films["v2"][1:]}
    found = find_twins(Store(films), [f"v{number}" for number in order])
    assert pairs(found) == {frozenset(("v1", "v6")), frozenset(("v2", "v7"))}
    assert found == find_twins(Store(films), films)


def test_stills_say_nothing():
    assert (
        find_twins(Store({f"v{number}": torch.ones(4, 3) for number in range(5)}), [f"v{at}" for at in range(5)]) == []
    )
    assert find_twins(Store({"v": torch.ones(4, 3)}), ["v"]) == []
    assert find_twins(Store({}), []) == []


def test_one_clip_videos():
    films = {f"v{number}": film(number, clips=1) for number in range(12)}
    films["copy"] = noisy(films["v5"], 0.05)
    assert pairs(find_twins(Store(films), films)) == {frozenset(("v5", "copy"))}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 12))
def test_likeness_is_symmetric_and_at_most_one(seed, one, other):
    left, right = film(seed, one)[None] - 3, film(seed, other)[None] - 3
    found = likeness(left, right).item()
    assert found == pytest.approx(likeness(right, left).item(), abs=1e-6)
    assert 0 <= found <= 1 + 1e-6
    assert likeness(left, left).item() == pytest.approx(1)


def test_pairs_in_a_batch_are_as_pairs_alone():
    ones, others = (torch.stack([film(seed, length) - 3 for seed in range(6)]) for length in (9, 12))
    others[2, 3:10] = ones[2, :7]
    alone = [likeness(one[None], other[None]) for one, other in zip(ones, others, strict=True)]
    torch.testing.assert_close(likeness(ones, others), torch.cat(alone))
    assert alone[2] > 0


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 99))
def test_diagonals_are_those_of_torch(rows, columns, seed):
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    found = _diagonals(matrix[None]).sum(dim=1)[0]
    expected = [matrix.diagonal(offset).sum() for offset in range(-rows + 1, columns)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_logo_in_all_pictures_hides_no_copy(films):
    logo = 4 * torch.randn(DIM, generator=torch.Generator().manual_seed(1))
    marked = noisy(films["v3"], 0.2) + logo
    assert pairs(find_twins(Store(films | {"marked": marked}), [*films, "marked"])) == {frozenset(("v3", "marked"))}


QVHIGHLIGHTS = {"train": "train_release", "val": "val_release", "test": "test_with_gt"}


def test_public_splits_share_no_recording(mirror):
    sides = {
        side: [json.loads(line)["vid"] for line in (mirror / f"qvhighlights/highlight_{name}.jsonl").open()]
        for side, name in QVHIGHLIGHTS.items()
    }
    assert {side: len({youtube_id(vid) for vid in vids}) for side, vids in sides.items()} == {
        "train": 2214, "val": 474, "test": 476,
    }  # fmt: skip
    check_leaks(sides)
    for name, files in {
        "tvsum": ("tvsum_train_release", "tvsum_val_release"),
        "youtube_highlights": ("youtube_highlight_train_release", "youtube_highlight_val_release"),
        "charades": ("charades_train_release", "charades_test_release"),
    }.items():
        sides = [[json.loads(line)["vid"] for line in (mirror / name / f"{file}.jsonl").open()] for file in files]
        check_leaks(dict(zip(("train", "reported"), sides, strict=True)))


def test_copies_of_real_clips(footage, tmp_path):
    """On what a picture looks like when it is 8 x 8 pixels, for want of an encoder."""

    def look(path):
        clips = np.stack(list(iter_clips(path, 4, 2, 64)))
        small = clips.reshape(len(clips), -1, 8, 8, 8, 8, 3).mean(axis=(1, 3, 5))
        return torch.from_numpy(small.reshape(len(clips), -1)).float()

    sources = {path.stem: path for path in (footage / "videos").iterdir() if path.stem in {"bikes", "box", "cup"}}
    videos = {vid: look(path) for vid, path in sources.items()}
    for vid, options in {"cup": ["-crf", "34"], "bikes": ["-vf", "scale=160:-2"], "box": ["-ss", "3"]}.items():
        copy = tmp_path / f"{vid}.mp4"
        options = [*options, "-an", "-preset", "ultrafast"]
        subprocess.run([ffmpeg_binary(), "-v", "error", "-i", sources[vid], *options, copy], check=True)
        videos[f"{vid} again"] = look(copy)
    assert pairs(find_twins(Store(videos), videos)) == {frozenset((vid, f"{vid} again")) for vid in sources}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(1, 12), st.integers(1, 12), st.sampled_from([0.0, 0.2, 1.0]))
def test_products_of_clips_say_what_the_clips_do(seed, length, other_length, noise):
    """Here clips are made, centred and compared themselves; `likeness` computes with their products."""
    one = film(seed, 12) - 3
    one, other = one[:length], noisy(one, noise, seed)[-other_length:]
    best = 0.0
    for own in (False, True):
        left, right = (rows - rows.mean(0) * own for rows in (one, other))
        for late, early in ((left, right), (right, left)):
            for speed, shift in itertools.product((1.0, 1.25), (0.0, 0.5)):
                count = int((len(late) - shift) / speed + 1e-6) or 1
                at = (torch.arange(count) * speed + shift + (speed - 1) / 2).clamp(max=len(late) - 1)
                low, share = at.long(), (at % 1)[:, None]
                played = late[low] * (1 - share) + late[(low + 1).clamp(max=len(late) - 1)] * share
                lines = _Lines((_unit(played) @ _unit(early).T)[None])
                bars = [(lines.whole(), 0.8 if not own else 0.7 if lines.shorter >= 8 else 0.9)]
                bars += [(lines.stretch(5), 0.93), (lines.stretch(8), 0.83)] * (not own)
                best = max([best, *(score.item() for score, bar in bars if score.item() >= bar)])
    assert likeness(one[None], other[None]).item() == pytest.approx(best, abs=1e-5)
