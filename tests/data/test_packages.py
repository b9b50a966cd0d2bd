"""Published layouts of features: what belongs to them, and what comes out."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from read.data import FeatureStore, write_shard
from read.data.features import text_arrays
from read.data.packages import Package, form_of, forms_of, name_in_layout, read_array
from read.errors import InputError
from read.plugins import PACKAGE_LAYOUTS

VID = "-a_b_60.0_210.0"  # an id as QVHighlights has them, of a video whose name begins with a dash
RANDOM = np.random.default_rng(0)


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def rows(count: int, dim: int, dtype=np.float32) -> np.ndarray:
    return RANDOM.standard_normal((count, dim)).astype(dtype)


def package(folder: Path, layout: str, files: dict[str, bytes], text: str = "package", **said) -> Package:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "package.zip", "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    record = {"layout": layout, "encoders": None, "joint": None, "clip_len": 2.0, "sha256": "5", "text": text}
    record |= {"sound": None, "normalise": True}
    (folder / "package.json").write_text(json.dumps(record | said))
    return Package(folder)


def moment_detr(slow: np.ndarray, clip: np.ndarray, text: np.ndarray, vid: str = VID) -> dict[str, bytes]:
    return {
        f"slowfast_features/{vid}.npz": npz(features=slow),
        f"clip_features/{vid}.npz": npz(features=clip),
        "clip_text_features/qid7.npz": npz(last_hidden_state=text, pooler_output=text[0]),
    }


@pytest.mark.parametrize(
    ("layout", "path", "name"),
    [
        ("moment_detr", f"features/clip_features/{VID}.npz", f"clip_features/{VID}.npz"),
        ("moment_detr", f"slowfast_features/{VID}.npz", f"slowfast_features/{VID}.npz"),
        ("moment_detr", "a/b/clip_text_features/qid12.npz", "clip_text_features/qid12.npz"),
        ("moment_detr", "features/clip_sub_features/x.npz", None),
        ("moment_detr", "features/clip_features/x.npy", None),
        ("moment_detr", "features/myclip_features/x.npz", None),
        ("umt", f"youtube/video_features/{VID}_rgb.npy", f"video_features/{VID}_rgb.npy"),
        ("umt", "tvsum/query_features/x.npz", "query_features/x.npz"),
        ("umt", "charades/opt_features/x.npy", "opt_features/x.npy"),
        ("umt", "youtube/audio_features/x.npy", "audio_features/x.npy"),
        ("moment_detr", "qvhighlights/pann_features/x.npy", None),  # the card did not ask for it
        ("umt", "youtube_anno.json", None),
        ("npy_folder", "train/x.npy", "x.npy"),
        ("npy_folder", "x.npz", None),
    ],
)
def test_what_belongs_to_a_layout(layout, path, name):
    assert name_in_layout(forms_of(layout), path) == name


def test_the_forms_of_a_layout_are_told_by_their_files():
    youtube, umt = ["video_features/x_rgb.npy", "video_features/x_opt.npy"], forms_of("umt")
    assert form_of(umt, youtube) is umt[0]
    assert form_of(umt, ["rgb_features/x.npy", "opt_features/x.npy"]) is umt[1]
    assert form_of(umt, youtube[:1]) is None
    assert form_of(forms_of("moment_detr"), ["clip_text_features/qid1.npz"]) is None


def test_moment_detr_in_half_precision_cut_to_the_shortest_encoder(tmp_path):
    slow, clip, text = rows(75, 6, np.float16), rows(77, 4, np.float16), rows(9, 4, np.float16)
    found = package(tmp_path, "moment_detr", moment_detr(slow, clip, text))
    arrays = found.video(VID)
    assert list(arrays) == ["slowfast", "clip"]
    assert all(array.dtype == np.float32 for array in arrays.values())
    np.testing.assert_array_equal(arrays["slowfast"], slow.astype(np.float32))
    np.testing.assert_array_equal(arrays["clip"], clip[:75].astype(np.float32))
    assert found.cut == {VID: 2}
    np.testing.assert_array_equal(found.text(7, VID), text.astype(np.float32))
    assert found.has_text
    assert found.lacks(VID) == ""


def test_a_shard_of_it_is_normalised_as_the_public_loader_does(tmp_path):
    slow, clip, text = rows(5, 6), rows(5, 4), rows(3, 4)
    found = package(tmp_path / "raw", "moment_detr", moment_detr(slow, clip, text))
    spec = found.spec
    arrays = {f"{encoder}/{VID}": array for encoder, array in found.video(VID).items()}
    write_shard(tmp_path / "features", "000", arrays, spec)
    write_shard(tmp_path / "features", "text", text_arrays([7], [found.text(7, VID)]), spec)
    store = FeatureStore(tmp_path / "features")
    parts = {"slowfast": slow, "clip": clip}
    unit = {name: part / np.linalg.norm(part, axis=1, keepdims=True) for name, part in parts.items()}
    joined = store.video(VID)
    assert joined.shape == (5, 10)
    by_width = sorted(unit.values(), key=lambda part: part.shape[1])  # in whichever order the store joins them
    whole = np.concatenate(by_width, axis=1)
    assert sorted(joined[0].tolist()) == pytest.approx(sorted(whole[0].tolist()), abs=1e-6)
    torch.testing.assert_close(joined.norm(dim=1), torch.full((5,), 2**0.5))
    torch.testing.assert_close(store.text(7).norm(dim=1), torch.ones(3))


def test_sound_and_features_as_they_are_where_the_card_asks_for_them(tmp_path):
    slow, clip, text, heard = rows(5, 6), rows(5, 4), rows(3, 4), rows(6, 7)
    files = moment_detr(slow, clip, text) | {f"pann_features/{VID}.npy": npy(heard)}
    assert "sound" not in package(tmp_path / "deaf", "moment_detr", files).spec
    found = package(tmp_path / "raw", "moment_detr", files, sound=["pann"], normalise=False)
    arrays = {f"{encoder}/{VID}": array for encoder, array in found.video(VID).items()}
    write_shard(tmp_path / "features", "000", arrays, found.spec)
    write_shard(tmp_path / "features", "text", text_arrays([7], [found.text(7, VID)]), found.spec)
    store = FeatureStore(tmp_path / "features")
    assert store.sound == slice(10, 17) and store.clips(VID).shape == (5, 17)
    # As `datasets/qvhighlights.py` of UMT gives them to its model: joined, cut to the shortest, and not normalised.
    np.testing.assert_array_equal(store.video(VID)[:, :10].numpy(), np.concatenate([slow, clip], axis=1))
    np.testing.assert_array_equal(store.video(VID)[:, store.sound].numpy(), heard[:5])
    np.testing.assert_array_equal(store.text(7).numpy(), text)


def test_which_of_umts_forms_has_the_sound_that_is_asked_for():
    def of(sound, *names):
        form = form_of(forms_of("umt", None, sound), names)
        return form and [*form.videos]

    charades = ["rgb_features/x.npy", "opt_features/x.npy", "audio_features/x.npy"]
    assert of(None, *charades) == ["rgb", "opt"] == of(["opt"], *charades)
    assert of(["audio"], *charades) == ["rgb", "audio"]
    youtube = ["video_features/x_rgb.npy", "video_features/x_opt.npy", "audio_features/x.npy"]
    assert of(None, *youtube) == ["rgb", "opt"] and of(["audio"], *youtube) == ["rgb", "opt", "audio"]
    assert of(["audio"], *youtube[:2]) is None and of(["audio"], *charades[:2]) is None


def test_specs_of_different_packages_differ(tmp_path):
    found = package(tmp_path, "moment_detr", moment_detr(rows(5, 6), rows(5, 4), rows(3, 4)))
    assert found.spec["clip_len"] == 2.0
    assert found.spec["package"] == {"layout": "moment_detr", "sha256": "5"}
    assert found.spec["encoders"]["clip"] == {"files": "clip_features/{vid}.npz", "width": 4}
    assert found.spec["text"]["width"] == 4
    write_shard(tmp_path / "features", "000", {}, found.spec)
    write_shard(tmp_path / "features", "001", {}, found.spec | {"package": {"layout": "moment_detr", "sha256": "6"}})
    with pytest.raises(InputError, match=r"package\.sha256 is '6', not '5'"):
        FeatureStore(tmp_path / "features")


def test_umt_with_queries_by_video_and_without(tmp_path):
    files = {f"video_features/{VID}_{kind}.npy": npy(rows(4, 3)) for kind in ("rgb", "opt")}
    plain = package(tmp_path / "youtube", "umt", files, text="clip")
    assert list(plain.video(VID)) == ["rgb", "opt"]
    assert not plain.has_text
    token = rows(5, 3)
    asked = package(tmp_path / "tvsum", "umt", files | {f"query_features/{VID}.npz": npz(token=token)})
    assert asked.has_text
    np.testing.assert_array_equal(asked.text("any", VID), token)


NPZ = {"layout": "npz", "encoders": ["efficientnet", "conse"]}


def any_encoders(vid: str = VID, **query) -> dict[str, bytes]:
    return {
        f"videos/{vid}.npz": npz(conse=rows(5, 4), efficientnet=rows(5, 6), other=rows(1, 9)),
        "queries/7.npz": npz(**{"tokens": rows(3, 4)} | query),
    }


def test_encoders_of_any_names_are_joined_in_the_order_of_the_card(tmp_path):
    files = any_encoders()
    raw = np.load(io.BytesIO(files[f"videos/{VID}.npz"]))
    found = package(tmp_path / "one", files=files, **NPZ)
    assert list(found.video(VID)) == found.spec["joined"] == ["efficientnet", "conse"]
    for name, array in found.video(VID).items():
        np.testing.assert_array_equal(array, raw[name])
    assert "joint" not in found.spec
    turned = package(tmp_path / "other", files=files, **(NPZ | {"encoders": ["conse", "efficientnet"]}))
    assert list(turned.video(VID)) == ["conse", "efficientnet"] and turned.spec["joined"] != found.spec["joined"]
    assert found.lacks("x") == "the package of features lacks videos/x.npz"
    with pytest.raises(InputError, match="has no 'clip', only conse, efficientnet, other"):
        package(tmp_path / "third", files=files, **(NPZ | {"encoders": ["clip"]})).video(VID)


@pytest.mark.parametrize("given", [{}, {"sentence": rows(1, 4)[0]}, {"sentence": rows(1, 4)}])
def test_a_sentence_is_the_packages_own_or_the_mean_of_its_tokens(tmp_path, given):
    tokens = rows(3, 4)
    found = package(tmp_path, files=any_encoders(tokens=tokens, **given), joint="conse", **NPZ)
    assert (found.spec["joint"], found.spec["sentence"]) == ("conse", "pooled" if given else "mean of tokens")
    expected = given["sentence"].reshape(-1) if given else tokens.mean(axis=0)
    np.testing.assert_allclose(found.sentence(7, VID), expected, rtol=1e-6)


def test_moment_detrs_own_embedding_of_a_query_is_its_sentence(tmp_path):
    text = rows(3, 4)
    found = package(tmp_path, "moment_detr", moment_detr(rows(5, 6), rows(5, 4), text), joint="clip")
    assert found.spec["sentence"] == "pooled"
    np.testing.assert_array_equal(found.sentence(7, VID), text[0])


def test_sentences_outside_the_joint_space_are_refused(tmp_path):
    def said(number: int, joint: str, **query) -> str:
        with pytest.raises(InputError) as caught:
            _ = package(tmp_path / str(number), files=any_encoders(**query), joint=joint, **NPZ).spec
        return str(caught.value)

    assert "of efficientnet, which the card calls joint, clips are 6 wide, but tokens of queries, whose" in said(
        1, "efficientnet"
    )
    assert "clips are 4 wide, but sentences are 6; name another" in said(2, "conse", sentence=rows(1, 6)[0])
    assert "the card's features.joint 'clip' is none of efficientnet, conse" in said(3, "clip")
    some = any_encoders(sentence=rows(1, 4)[0]) | {"queries/8.npz": npz(tokens=rows(2, 4))}
    with pytest.raises(InputError, match=r"queries/8\.npz: has no 'sentence', only tokens"):
        package(tmp_path / "some", files=some, joint="conse", **NPZ).sentence(8, VID)
    for number, (wrong, reason) in enumerate(
        [(rows(2, 4), r"shape is \(2, 4\), not \(dim,\)"), (np.full(4, np.nan), "1 of its 1 rows")]
    ):
        some = any_encoders(sentence=rows(1, 4)[0]) | {"queries/8.npz": npz(tokens=rows(2, 4), sentence=wrong)}
        with pytest.raises(InputError, match=rf"queries/8\.npz: .*{reason}"):
            package(tmp_path / f"wrong-{number}", files=some, joint="conse", **NPZ).sentence(8, VID)


@pytest.mark.parametrize("layout", PACKAGE_LAYOUTS.names())
def test_cards_are_checked_by_the_encoders_that_the_forms_have(layout):
    named, sound = (PACKAGE_LAYOUTS.constant(layout, key, ()) for key in ("ENCODERS", "SOUND"))
    forms = forms_of(layout, ["a", "b"])
    assert tuple(forms[0].videos) == (named or ("a", "b"))
    assert all({*form.videos} <= {*(named or ("a", "b")), *sound} for form in forms)
    assert all(any(name in form.videos for form in forms_of(layout, None, [name])) for name in sound)


def test_how2_is_a_folder_of_arrays(tmp_path):
    array = rows(3, 2048)
    found = package(tmp_path, "npy_folder", {f"{VID}.npy": npy(array)})
    np.testing.assert_array_equal(found.video(VID)["features"], array)
    with pytest.raises(InputError, match="the layout npy_folder has no features of queries"):
        found.text(7, VID)


def test_a_video_that_is_not_there_is_told_by_its_files(tmp_path):
    found = package(tmp_path, "moment_detr", moment_detr(rows(5, 6), rows(5, 4), rows(3, 4)))
    reason = "the package of features lacks slowfast_features/x.npz and clip_features/x.npz"
    assert found.lacks("x") == reason
    with pytest.raises(InputError, match=reason):
        found.video("x")
    with pytest.raises(InputError, match=r"package\.zip: lacks clip_text_features/qid8\.npz"):
        found.text(8, VID)


def test_encoders_of_other_clip_lengths_are_refused(tmp_path):
    for index, (slow, clip, fits) in enumerate([(3, 5, True), (3, 6, False), (95, 100, True), (94, 100, False)]):
        found = package(tmp_path / str(index), "moment_detr", moment_detr(rows(slow, 6), rows(clip, 4), rows(3, 4)))
        if fits:
            assert {len(array) for array in found.video(VID).values()} == {slow}
        else:
            with pytest.raises(InputError, match=rf"clips differ in number: {slow} of slowfast, {clip} of clip"):
                found.video(VID)


def test_a_width_that_changes_between_videos_is_refused(tmp_path):
    files = {f"{name}.npy": npy(rows(3, dim)) for name, dim in (("a", 4), ("b", 5))}
    found = package(tmp_path, "npy_folder", files)
    found.video("a")
    with pytest.raises(InputError, match=r"package\.zip: b\.npy: is 5 wide, files before it 4"):
        found.video("b")


BAD = {
    "NaN": (npy(np.array([[1.0, np.nan], [1, 1]])), "1 of its 2 rows are not finite"),
    "infinity": (npy(np.array([[1.0, np.inf]], np.float16)), "1 of its 1 rows are not finite"),
    "too large": (npy(np.array([[1e300, 1.0]])), "1 of its 1 rows are not finite"),
    "pickle": (npy(np.array([[{"a": 1}]], dtype=object)), "no array as numpy writes it"),
    "text": (npy(np.array([["a"]])), "holds <U1, not real numbers"),
    "complex": (npy(np.ones((2, 2), complex)), "holds complex128"),
    "flat": (npy(np.ones(4)), r"its shape is \(4,\)"),
    "empty": (npy(np.ones((0, 4))), r"its shape is \(0, 4\)"),
    "cut": (npy(np.ones((4, 4)))[:-8], "no array as numpy writes it"),
    "nothing": (b"", "no array as numpy writes it"),
    "other": (b"<html>", "no array as numpy writes it"),
    "key": (npz(other=np.ones((2, 2))), "has no 'features', only other"),
    "cut npz": (npz(features=np.ones((2, 2)))[:-30], "no array as numpy writes it"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_arrays_are_named(kind):
    data, reason = BAD[kind]
    with pytest.raises(InputError, match=rf"^x\.zip: v\.npz: {reason}"):
        read_array(io.BytesIO(data), "x.zip: v.npz", "features")


def test_whole_numbers_are_numbers():
    assert read_array(io.BytesIO(npy(np.ones((2, 3), np.int16))), "x").dtype == np.float32


def test_packages_that_are_not_there_or_damaged(tmp_path):
    with pytest.raises(InputError, match="holds no package of features; run the download stage again"):
        Package(tmp_path)
    package(tmp_path, "npy_folder", {"a.npy": npy(rows(3, 4))})
    data = bytearray((tmp_path / "package.zip").read_bytes())
    data[150] ^= 1
    (tmp_path / "package.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"package\.zip: a\.npy: damaged"):
        Package(tmp_path).video("a")
    (tmp_path / "package.zip").write_bytes(data[:100])
    with pytest.raises(InputError, match=r"package\.zip: no package of features can be read here"):
        Package(tmp_path)
    with pytest.raises(InputError, match="holds no features in the layout moment_detr"):
        package(tmp_path, "moment_detr", {"a.npy": npy(rows(3, 4))})
