import numpy as np
import pytest
import torch
from safetensors import safe_open

from read.data import Annotation, FeatureStore, collate, make_samples, write_shard
from read.data.features import text_arrays
from read.errors import InputError

SPEC = {"encoders": {"clip": {"weights": "a1"}}, "fps": 8.0, "clip_len": 2.0}


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    for shard, vid in (("000", "one"), ("001", "two")):
        video = {f"{name}/{vid}": rng.normal(size=(5, dim)) * 9 for name, dim in (("clip", 4), ("slowfast", 6))}
        write_shard(tmp_path, shard, video, SPEC, {f"bad-{vid}": "is empty"})
    write_shard(tmp_path, "text", text_arrays([1], [rng.normal(size=(3, 4))]), SPEC)
    return tmp_path


def test_each_encoder_is_normalised_before_they_are_joined(store):
    video = FeatureStore(store, SPEC).video("two")
    assert video.shape == (5, 10)
    assert video.dtype == torch.float32
    torch.testing.assert_close(video[:, :4].norm(dim=-1), torch.ones(5))
    torch.testing.assert_close(video[:, 4:].norm(dim=-1), torch.ones(5))
    assert FeatureStore(store).text(1).shape == (3, 4)


def test_features_of_another_extractor_are_refused_with_the_keys_that_differ(store):
    with pytest.raises(InputError, match=r"fps is 8.0, not 4.0") as caught:
        FeatureStore(store, SPEC | {"fps": 4.0})
    assert "000.json" in str(caught.value)


def test_shards_of_two_extractors_do_not_mix(store):
    write_shard(store, "002", {"clip/three": np.ones((2, 4))}, SPEC | {"encoders": {"clip": {"weights": "b2"}}})
    with pytest.raises(InputError, match=r"002.json: made by another .*encoders.clip.weights is 'b2', not 'a1'"):
        FeatureStore(store)


def test_a_video_without_features_is_an_error_with_its_reason(store):
    features = FeatureStore(store, SPEC)
    with pytest.raises(InputError, match=r"bad-one .is empty."):
        features.video("bad-one")
    with pytest.raises(InputError, match="never extracted"):
        features.video("unknown")
    with pytest.raises(InputError, match="no features of query 7"):
        features.text(7)


def test_a_folder_without_shards_or_with_half_a_shard_is_an_error(store, tmp_path):
    with pytest.raises(InputError, match="holds no feature shard"):
        FeatureStore(tmp_path / "nothing")
    (store / "001.safetensors").unlink()
    with pytest.raises(InputError, match=r"001.safetensors: is missing"):
        FeatureStore(store)


def test_features_that_are_no_numbers_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="clip/one"):
        write_shard(tmp_path, "000", {"clip/one": np.array([[np.nan]])}, SPEC)


def test_another_decoder_is_told_and_not_refused(tmp_path):
    for number, decoder in enumerate(["ffmpeg 1", "ffmpeg 2", "ffmpeg 1", None]):
        write_shard(tmp_path, f"00{number}", {f"clip/{number}": np.ones((2, 4))}, SPEC, decoder=decoder)
    store = FeatureStore(tmp_path)
    assert store.decoders == ["ffmpeg 1", "ffmpeg 2"] and len(store.videos) == 4


JOINT = SPEC | {"encoders": {"slowfast": {}, "clip": {}}, "joint": "clip"}


@pytest.fixture
def joint(tmp_path):
    """Two videos and two queries, 4 wide in CLIP's space."""
    rng = np.random.default_rng(1)
    for shard, vid in (("000", "one"), ("001", "two")):
        arrays = {f"{name}/{vid}": rng.normal(size=(5, dim)) * 9 for name, dim in (("clip", 4), ("slowfast", 6))}
        write_shard(tmp_path, shard, arrays, JOINT)
    sentences = rng.normal(size=(2, 4)).astype(np.float32) * 7
    write_shard(tmp_path, "text", text_arrays([1, "b/c"], rng.normal(size=(2, 3, 8)), sentences), JOINT)
    return tmp_path, sentences


def test_sentences_and_clips_in_their_joint_space(joint):
    root, sentences = joint
    store = FeatureStore(root)
    assert store.joint == slice(6, 10)
    with safe_open(root / "000.safetensors", "numpy") as file:
        clips = file.get_tensor("clip/one")
    columns = store.video("one")[:, store.joint].numpy()
    np.testing.assert_allclose(columns, clips / np.linalg.norm(clips, axis=1, keepdims=True), atol=1e-6)
    for qid, sentence in zip((1, "b/c"), sentences, strict=True):
        np.testing.assert_allclose(store.sentence(qid), sentence / np.linalg.norm(sentence), atol=1e-6)
        assert store.text(qid).shape == (3, 8)
    with pytest.raises(InputError, match="no sentence embedding of query 2; run the extract stage again"):
        store.sentence(2)


def test_samples_carry_the_sentence(joint):
    root, _ = joint
    store = FeatureStore(root)
    labels = [Annotation(qid, "q", vid, 10.0, ((0.0, 2.0),), (), ()) for qid, vid in ((1, "two"), ("b/c", "one"))]
    samples = make_samples(labels, store, 2.0)
    assert all(torch.equal(sample.sentence, store.sentence(sample.question.qid)) for sample in samples)
    assert collate(samples)["sentence"].shape == (2, 4)


def test_features_without_a_joint_space(store):
    features = FeatureStore(store)
    assert features.joint is None and features.sentence(1) is None
    label = Annotation(1, "q", "one", 10.0, ((0.0, 2.0),), (), ())
    assert make_samples([label], features, 2.0)[0].sentence is None


def test_a_joint_space_that_is_none(joint):
    root, _ = joint
    write_shard(root, "text", text_arrays([1], [np.ones((3, 8))], [np.ones(6)]), JOINT)
    with pytest.raises(InputError, match="query 1 is 6 wide in the joint space, its clips are 4"):
        FeatureStore(root).sentence(1)
    for path in root.glob("00*"):
        path.unlink()
    write_shard(root, "000", {"slowfast/one": np.ones((2, 6))}, JOINT)
    with pytest.raises(InputError, match="no video has features of clip, which the spec names"):
        _ = FeatureStore(root).joint


def test_the_columns_that_are_heard(tmp_path):
    widths = {"slowfast": 6, "pann": 3, "ast": 2, "clip": 4}
    spec = SPEC | {"encoders": {name: {} for name in widths}, "joined": [*widths], "sound": ["pann", "ast"]}
    arrays = {f"{name}/one": np.full((5, width), 1.0 + width) for name, width in widths.items()}
    write_shard(tmp_path, "000", arrays, spec | {"joint": "clip"}, told={"one": "has no sound track"})
    store = FeatureStore(tmp_path)
    assert (store.sound, store.joint) == (slice(6, 11), slice(11, 15))
    assert store.told == {"one": "has no sound track"}
    apart = spec | {"encoders": {name: {} for name in ("pann", "slowfast", "ast", "clip")}}
    write_shard(tmp_path, "000", arrays, apart)
    with pytest.raises(InputError, match="features of pann and ast are not side by side"):
        _ = FeatureStore(tmp_path).sound
    write_shard(tmp_path, "000", {"clip/one": np.ones((5, 4))}, spec)
    with pytest.raises(InputError, match="no video has features of pann and ast"):
        _ = FeatureStore(tmp_path).sound


def test_features_that_nobody_heard(store):
    assert FeatureStore(store).sound is None


def test_files_of_halves_take_half_the_room_are_read_as_float32_and_do_not_mix(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"clip/one": rng.normal(size=(50, 64)) * 9, "slowfast/one": rng.random(size=(50, 128))}
    for name, spec in (("whole", SPEC), ("half", SPEC | {"dtype": "float16"})):
        write_shard(tmp_path / name, "000", arrays, spec)
    half, whole = (FeatureStore(tmp_path / name).video("one") for name in ("half", "whole"))
    assert half.dtype == torch.float32
    assert (half * whole).sum(1).min() > 2 * (1 - 1e-6)  # cosines of two encoders
    sizes = [(tmp_path / name / "000.safetensors").stat().st_size for name in ("half", "whole")]
    assert 1.95 < sizes[1] / sizes[0] < 2
    write_shard(tmp_path / "half", "001", {"clip/two": np.ones((2, 64))}, SPEC)
    with pytest.raises(InputError, match="dtype is None, not 'float16'"):
        FeatureStore(tmp_path / "half")
    with pytest.raises(InputError, match="clip/x: has features too large for float16; extract float32"):
        write_shard(tmp_path / "half", "002", {"clip/x": np.full((2, 4), 1e5)}, SPEC | {"dtype": "float16"})
