"""One extractor: streaming, its spec, and real clips."""

import json
import shutil

import numpy as np
import pytest

from read.encoders.base import Framing
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.frames import iter_clips, read_views, write_video
from read.encoders.kinds.clip import Clip, new_tiny_clip
from read.encoders.kinds.slowfast import KINETICS, SlowFast
from read.errors import InputError
from read.files import read_json, write_json

pytestmark = pytest.mark.video


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "noise.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (90, 96, 128, 3), dtype=np.uint8), 8)
    return path


def test_streaming_equals_one_shot(weights, video):
    small = Extractor(ExtractorSettings(batch_size=2), weights)
    features = small.video(video)
    clips = np.stack(list(iter_clips(video, 8, 2.0, 64)))
    assert features.seconds == 90 / 8
    assert {name: array.shape for name, array in features.arrays.items()} == {"clip": (6, 64), "slowfast": (6, 512)}
    for name, array in features.arrays.items():
        np.testing.assert_allclose(array, small.encoders[name].video(clips), atol=1e-4, rtol=1e-4)


def test_each_encoder_sees_the_video_as_it_wants_to(weights, video):
    """Sizes of their own, one of them of the whole picture, from one decoding."""
    both = Extractor(ExtractorSettings(batch_size=4), weights)
    both.views["slowfast"] = Framing(48, squash=True)
    arrays = both.video(video).arrays
    for name, view in (("clip", Framing(64)), ("slowfast", Framing(48, squash=True))):
        clips = np.stack([clip for (clip,), _ in read_views(video, 8, 2.0, [view])])
        np.testing.assert_allclose(arrays[name], both.encoders[name].video(clips), atol=1e-4, rtol=1e-4)
    assert both.spec["views"]["slowfast"] == {"size": 48, "squash": True, "short": 0}


def test_two_extractors_agree_to_the_bit(weights, video):
    first, second = (Extractor(ExtractorSettings(), weights) for _ in range(2))
    assert first.spec == second.spec
    one, other = first.video(video), second.video(video)
    assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    assert np.array_equal(first.text(["a cat"])[0], second.text(["a cat"])[0])


def test_spec_is_json_and_changes_with_what_matters(weights, tmp_path):
    extractor = Extractor(ExtractorSettings(), weights)
    assert json.loads(json.dumps(extractor.spec)) == extractor.spec
    assert Extractor(ExtractorSettings(batch_size=3), weights).spec == extractor.spec
    assert Extractor(ExtractorSettings(fps=4), weights).spec != extractor.spec
    assert Extractor(ExtractorSettings(clip_len=1.0), weights).spec != extractor.spec
    new_tiny_clip().save(tmp_path / "clip")
    SlowFast.load(weights / "slowfast").save(tmp_path / "slowfast")
    assert Extractor(ExtractorSettings(), tmp_path).spec != extractor.spec


def test_the_joint_space_is_that_of_the_encoder_that_reads_the_queries(weights, tmp_path, monkeypatch):
    extractor = Extractor(ExtractorSettings(), weights)
    assert (extractor.joint, extractor.spec["joint"]) == ("clip", "clip")
    np.testing.assert_array_equal(extractor.sentences(["a cat"]), extractor.reader.sentences(["a cat"]))
    shutil.copytree(weights / "slowfast", tmp_path / "slowfast")
    shutil.copytree(weights / "clip", tmp_path / "first")
    write_json(tmp_path / "first/config.json", read_json(weights / "clip/config.json") | {"kind": "clip"})
    assert Extractor(ExtractorSettings(), tmp_path, names=["slowfast", "first"]).spec["joint"] == "first"
    for attribute, value in (("joint", False), ("reads", ("text",))):  # no such space; no clips in it
        with monkeypatch.context() as patch:
            patch.setattr(Clip, attribute, value)
            other = Extractor(ExtractorSettings(), weights)
            assert other.sentences(["a cat"]) is None and "joint" not in other.spec
    blind = Extractor(ExtractorSettings(), weights, names=["slowfast"])
    assert blind.sentences(["a cat"]) is None and "joint" not in blind.spec


def test_real_clips(weights, footage):
    extractor = Extractor(ExtractorSettings(), weights)
    dog = extractor.video(footage / "videos" / "dog.mp4")
    assert dog.arrays["clip"].shape == (1, 64)
    assert 1.4 < dog.seconds < 1.7
    box = extractor.video(footage / "videos" / "box.mp4")
    assert all(np.isfinite(array).all() and len(array) == 8 for array in box.arrays.values())
    with pytest.raises(InputError, match=r"truncated\.mp4"):
        extractor.video(footage / "bad" / "truncated.mp4")


def test_bad_settings_and_missing_weights(weights, tmp_path):
    with pytest.raises(InputError, match="whole number"):
        ExtractorSettings(fps=7.3)
    with pytest.raises(InputError, match="batch_size 0"):
        ExtractorSettings(batch_size=0)
    with pytest.raises(InputError, match=r"slowfast.config\.json"):
        Extractor(ExtractorSettings(), tmp_path)


@pytest.mark.gpu
def test_gpu_agrees_with_cpu(weights, video):
    cpu, gpu = (Extractor(ExtractorSettings(), weights, device) for device in ("cpu", "cuda"))
    assert cpu.spec == gpu.spec
    one, other = cpu.video(video), gpu.video(video)
    for name, array in one.arrays.items():
        np.testing.assert_allclose(array, other.arrays[name], atol=2e-2, rtol=2e-2)
    np.testing.assert_allclose(cpu.text(["a cat"])[0], gpu.text(["a cat"])[0], atol=1e-2)


def test_the_published_network_is_not_fed_with_repeated_frames(weights, tmp_path):
    """8 frames a second are 16 a clip, of which it would see each twice."""
    kinetics = SlowFast.load(weights / "slowfast")
    kinetics.config |= {"name": KINETICS, "frames": 32}
    kinetics.save(tmp_path / "slowfast")
    shutil.copytree(weights / "clip", tmp_path / "clip")
    with pytest.raises(InputError, match=r"takes 32 frames of a clip, but fps x clip_len gives 16; set extract\.fps"):
        Extractor(ExtractorSettings(fps=8.0), tmp_path)
    assert Extractor(ExtractorSettings(fps=16.0), tmp_path).spec["fps"] == 16.0
