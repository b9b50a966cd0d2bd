"""Copies among a folder's videos: found by their thumbnails, told before they stand on two sides."""

import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from read.encoders.frames import write_video
from read.encoders.program import ffmpeg_binary
from read.encoders.strip import write_strip
from read.studio.sides import sides_of
from read.studio.twins import GRID, PICTURES, Strips, alike, twins_of

SIDES = [("a", {"split": "train"}), ("b", {"split": "test"}), ("c", {})]


def strip(path, pictures):
    Image.fromarray(np.concatenate(list(pictures), axis=1)).save(path, quality=60)
    return path


def shot(generator, noise=0):
    """(T, h, w, 3) pictures of something that stands and something that passes."""
    still = generator.integers(0, 255, (5, 8, 3)).repeat(18, 0).repeat(20, 1)
    pictures = np.stack([np.roll(still, 8 * number, axis=1) for number in range(PICTURES)])
    return np.clip(pictures + noise * generator.normal(size=pictures.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def edges(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("strips"), np.random.default_rng(0)
    shots = {f"v{number}": shot(generator) for number in range(10)}
    shots["v3 darker"] = shots["v3"] // 2 + 10
    shots["v5 trimmed"] = np.roll(shots["v5"], -1, axis=0)
    shots["black"], shots["black too"] = np.zeros_like(shots["v0"]), np.zeros_like(shots["v0"])
    return Strips().of({vid: strip(folder / f"{vid}.jpg", pictures) for vid, pictures in shots.items()})


def test_copies_are_found_by_their_thumbnails_and_nothing_else_is(edges):
    assert alike(edges) == [("v3", "v3 darker"), ("v5", "v5 trimmed")]
    assert alike({}) == alike({"v1": edges["v1"]}) == []


def test_bars_beside_pictures_make_no_copies_and_hide_none(tmp_path):
    generator = np.random.default_rng(3)
    shots = {f"v{number}": shot(generator) for number in range(10)}
    paths = {}
    for vid, pictures in shots.items():
        framed = np.zeros_like(pictures)
        framed[:, :, 30:130] = pictures[:, :, 30:130]
        paths[vid] = strip(tmp_path / f"{vid}.jpg", framed)
    paths["v4 cut"] = strip(tmp_path / "cut.jpg", shots["v4"][:, :, 30:130].repeat(8, 2)[:, :, ::5])
    assert alike(Strips().of(paths)) == [("v4", "v4 cut")]


def test_one_camera_that_never_moves_makes_no_copies(tmp_path):
    generator = np.random.default_rng(1)
    room = shot(generator)[0].astype(int)
    paths = {}
    for number in range(12):
        pictures = np.stack([room] * PICTURES)
        for picture in pictures:  # somebody stands somewhere
            row, column = generator.integers(0, 50), generator.integers(0, 120)
            picture[row : row + 40, column : column + 40] = generator.integers(0, 255, 3)
        paths[f"v{number}"] = strip(tmp_path / f"{number}.jpg", pictures.astype(np.uint8))
    assert alike(Strips().of(paths)) == []


@pytest.mark.video
def test_a_copy_of_another_size_rate_and_quality_is_one(tmp_path):
    generator, paths = np.random.default_rng(2), {vid: tmp_path / f"{vid}.mp4" for vid in ("one", "other")}
    for path in paths.values():
        write_video(path, shot(generator).repeat(8, 0), fps=8)
    command = [ffmpeg_binary(), "-v", "error", "-ss", "0.3", "-i", paths["one"], "-vf", "scale=96:54", "-r", "5"]
    paths["copy"] = tmp_path / "copy.avi"
    subprocess.run([*command, "-q:v", "12", paths["copy"]], check=True)
    for vid, path in paths.items():
        write_strip(path, tmp_path / f"{vid}.jpg", 8.0, count=PICTURES, size=(160, 90))
    found = Strips().of({vid: tmp_path / f"{vid}.jpg" for vid in paths})
    assert found["one"].shape == (PICTURES, (GRID[0] - 1) * GRID[1] + GRID[0] * (GRID[1] - 1))
    assert alike(found) == [("copy", "one")]


def test_strips_that_are_gone_or_damaged_are_passed_over(tmp_path, edges):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    assert Strips().of({"bad": tmp_path / "bad.jpg", "gone": tmp_path / "gone.jpg"}) == {}


def test_features_have_the_last_word_where_a_model_has_read_both(edges):
    generator = torch.Generator().manual_seed(0)
    features = {vid: torch.randn(6, 24, generator=generator) for vid in edges}
    features["v7"] = features["v1"] + 0.1 * torch.randn(6, 24, generator=generator)
    vids = [*edges, "abcdefghijk_0_10", "abcdefghijk_10_20"]
    asked = []

    def get(vid):
        asked.append(vid)
        return features[vid]

    told = twins_of(vids, read := [vid for vid in edges if vid != "v5"], get, edges)
    assert sorted(asked) == sorted(read)  # each comes from the disk once
    recording = {"abcdefghijk_0_10": ["abcdefghijk_10_20"], "abcdefghijk_10_20": ["abcdefghijk_0_10"]}
    assert told == {"v1": ["v7"], "v7": ["v1"], "v5": ["v5 trimmed"], "v5 trimmed": ["v5"], **recording}


@pytest.mark.parametrize(
    "twins, expected",
    [
        ({}, {"a": "train", "b": "test", "c": "train"}),
        ({"b": ["c"], "c": ["b"]}, {"a": "train", "b": "test", "c": "test"}),
        ({"a": ["b"], "b": ["a", "c"], "c": ["b"]}, {"a": "train", "b": "train", "c": "train"}),
        ({"c": ["nobody labelled"]}, {"a": "train", "b": "test", "c": "train"}),
    ],
)
def test_copies_stand_on_one_side(twins, expected):
    assert sides_of(SIDES, twins) == expected


def test_a_copy_of_a_video_whose_answer_was_corrected_leaves_the_test_side_too():
    labelled = [("a", {"split": "test"}), ("b", {"split": "test"}), ("b", {"asked": True}), ("c", {"split": "test"})]
    assert sides_of(labelled, {"a": ["b"], "b": ["a"]}) == {"a": "train", "b": "train", "c": "test"}
