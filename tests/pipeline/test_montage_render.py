"""What the montage shows: photographs under camera moves, as the segments say, the same bytes again."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.montage import Montage
from pipeline.sources.montage.phrases import MOVES
from pipeline.sources.montage.render import FRAME, TINTS, frames, view
from pipeline.sources.montage.scenes import FPS, Scene, SceneSegment, make_scene
from pipeline.sources.montage.subjects import PHOTOGRAPHS, SIZE, photograph
from read.encoders.frames import read_clips

pytestmark = pytest.mark.video


@pytest.mark.parametrize("subject", PHOTOGRAPHS)
def test_photographs_ship_with_the_package(subject):
    image = photograph(subject)
    assert image.size == SIZE
    assert image.mode == "RGB"
    assert np.asarray(image).std() > 5


@pytest.mark.parametrize("move", MOVES)
def test_views_move_as_their_name_says_and_stay_inside(move):
    segment = SceneSegment(0.0, 3.0, "cat", move, "", (0.3, 0.4, 0.6))
    boxes = np.array([view(segment, progress) for progress in np.linspace(0, 1, 9)])
    assert (boxes >= -1e-9).all()
    assert (boxes[:, 2] <= SIZE[0] + 1e-9).all() and (boxes[:, 3] <= SIZE[1] + 1e-9).all()
    centre_x, centre_y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    width = boxes[:, 2] - boxes[:, 0]
    steps = {"x": np.diff(centre_x), "y": np.diff(centre_y), "width": np.diff(width)}
    moving = {
        "pan_left": ("x", -1), "pan_right": ("x", 1), "pan_up": ("y", -1), "pan_down": ("y", 1),
        "zoom_in": ("width", -1), "zoom_out": ("width", 1),
    }  # fmt: skip
    if move in moving:
        axis, sign = moving[move]
        assert (np.sign(steps[axis]) == sign).all()
    else:
        assert all(np.allclose(step, 0) for step in steps.values())


def test_frames_show_what_the_segments_say():
    scene = make_scene("source_train_0000", "source", 0)
    made = list(frames(scene))
    assert len(made) == scene.duration * FPS
    assert {(frame.shape, frame.dtype.name) for frame in made} == {((FRAME[1], FRAME[0], 3), "uint8")}
    for segment in scene.segments:
        shown = np.stack(made[round(segment.start * FPS) : round(segment.end * FPS)]).astype(float)
        whole = photograph(segment.subject).resize(FRAME, Image.Resampling.BILINEAR, box=view(segment, 0.0))
        assert np.array_equal(shown[0], np.asarray(whole))
        if segment.move == "still":
            assert (shown == shown[0]).all()
        if segment.move == "fade":
            brightness = shown.mean(axis=(1, 2, 3))
            assert (np.diff(brightness) < 0).all() and brightness[-1] == 0


def test_the_target_is_tinted():
    red, _, blue = TINTS["target"]
    scene = make_scene("target_train_0000", "target", 0)
    plain = Scene(scene.vid, "source", scene.segments, scene.queries)
    warm, neutral = next(frames(scene)).mean((0, 1)), next(frames(plain)).mean((0, 1))
    assert warm[0] / warm[2] == pytest.approx(neutral[0] / neutral[2] * red / blue, rel=0.1)


def test_a_video_is_the_same_bytes_again_and_lasts_as_long_as_it_says(tmp_path):
    montage = Montage("target", 0)
    digests = set()
    for name in ("one", "two"):
        room = tmp_path / name
        room.mkdir()
        path = montage.fetch("target_test_0001", room)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1
    clips = [count for _, count in read_clips(path, FPS, 2.0, 32)]
    assert sum(clips) / FPS == make_scene("target_test_0001", "target", 0).duration


def test_the_recipe_follows_what_is_shown():
    recipe = Montage("target", 0).recipe("target_test_0001")
    assert recipe == Montage("target", 0).recipe("target_test_0001")
    assert recipe != Montage("target", 1).recipe("target_test_0001")
    assert recipe != Montage("target", 0).recipe("target_test_0002")
