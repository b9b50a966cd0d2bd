"""Packages of features in the place of videos: had once, listed by shard, turned into feature shards."""

import io
import json
import shutil
import tarfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.annotations import fetch_annotations
from pipeline.sources.shards import shard_digests, shard_ids
from pipeline.stages.download import list_shard, write_manifest
from pipeline.stages.encoders import collect as collect_encoders
from pipeline.stages.extract import collect, extract_shard, extract_text
from read.data import FeatureStore
from read.encoders.kinds.clip import Clip, new_tiny_clip
from read.errors import InputError
from read.files import read_json, sha256_of, write_json, write_jsonl
from tests.pipeline.datasets import download, make_card, make_files, options, servers

VIDS = ["a", "b", "c", "d"]
LOCAL = {"source": "local", "folder": "nowhere"}  # there are no videos
UNTRAINED = {"clip": {}, "slowfast": {}}
EXTRACT = SimpleNamespace(fps=8.0, dtype="float32", normalise=True)
SETTINGS = SimpleNamespace(clip_len=2.0, extract=EXTRACT, encoders=UNTRAINED)


@pytest.fixture
def serve():
    with servers() as start:
        yield start


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def features(vids=VIDS, clips: int = 15, words: int = 4) -> dict[str, bytes]:
    """A package of Moment-DETR's layout; query n is of video n."""
    random = np.random.default_rng(0)
    files = {"features/README": b"hello"}
    for number, vid in enumerate(vids):
        for encoder, dim, more in (("slowfast", 6, 0), ("clip", 4, number % 2)):
            array = random.standard_normal((clips + more, dim)).astype(np.float16)
            files[f"features/{encoder}_features/{vid}.npz"] = npz(features=array)
        text = random.standard_normal((words, 4)).astype(np.float16)
        files[f"features/clip_text_features/qid{number}.npz"] = npz(last_hidden_state=text, pooler_output=text[0])
    return files


def make_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def make_tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as bundle:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            bundle.addfile(info, io.BytesIO(data))
    return path


def card_of(tmp_path, origin: dict, vids=VIDS, layout="moment_detr", **values):
    return make_card(tmp_path, LOCAL, vids, features={"layout": layout, "clip_len": 2.0} | origin, **values)


def content(tmp_path) -> dict[str, bytes]:
    with zipfile.ZipFile(tmp_path / "raw/mine/package.zip") as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def expected(files=None) -> dict[str, bytes]:
    return {name.removeprefix("features/"): data for name, data in (files or features()).items() if "npz" in name}


def test_a_package_is_downloaded_once_for_all_jobs_and_no_video_is(tmp_path, serve):
    archive = make_tar(tmp_path / "site" / "f.tar.gz", features())
    address, asked = serve(archive.parent)
    card = card_of(tmp_path, {"url": f"{address}/f.tar.gz", "sha256": sha256_of(archive)})
    settings, raw = options(shards=3), tmp_path / "raw"
    fetch_annotations(card, settings, 2.0, raw)
    jobs = [threading.Thread(target=list_shard, args=(card, shard, settings, raw)) for shard in shard_ids(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    write_manifest(card, settings, raw)
    assert asked == ["/f.tar.gz"]
    manifest = read_json(raw / "mine" / "manifest.json")
    assert manifest == {"dataset": "mine", "videos": {}, "missing": {}, "unpinned": [], "features": VIDS}
    assert content(tmp_path) == expected()
    record = read_json(raw / "mine" / "package.json")
    assert (record["layout"], record["clip_len"], record["sha256"]) == ("moment_detr", 2.0, sha256_of(archive))
    assert not [path for path in (raw / "mine").iterdir() if path.suffix == ".part"]
    download(card, tmp_path, packaged=True)
    assert len(asked) == 1


def test_folder_archive_and_mirror_give_the_same_package(tmp_path):
    make_folder(tmp_path / "mine", features())
    make_tar(tmp_path / "mirror" / "f.tar.gz", features())
    found = []
    for number, (origin, mirror) in enumerate(
        [
            ({"path": str(tmp_path / "mine")}, None),
            ({"path": str(tmp_path / "mirror" / "f.tar.gz")}, None),
            ({"url": "http://127.0.0.1:9/f.tar.gz"}, str(tmp_path / "mirror")),
        ]
    ):
        place = tmp_path / str(number)
        place.mkdir()
        manifest = download(card_of(place, origin), place, options(mirror=mirror), packaged=True)
        assert manifest["features"] == VIDS
        found.append(content(place))
    assert found == [expected()] * 3
    assert (tmp_path / "mirror" / "f.tar.gz").is_file()


def test_a_folder_that_changes_is_packed_again(tmp_path):
    folder = make_folder(tmp_path / "mine", features(["a", "b"]))
    card = card_of(tmp_path, {"path": str(folder)}, ["a", "b"])
    download(card, tmp_path, packaged=True)
    first = read_json(tmp_path / "raw/mine/package.json")
    download(card, tmp_path, packaged=True)
    assert read_json(tmp_path / "raw/mine/package.json") == first
    make_folder(folder, features(["a", "b"], clips=9))
    download(card, tmp_path, packaged=True)
    assert content(tmp_path) == expected(features(["a", "b"], clips=9))
    assert read_json(tmp_path / "raw/mine/package.json")["sha256"] != first["sha256"]


def test_videos_that_the_package_lacks_are_missing_with_reasons(tmp_path):
    folder = make_folder(tmp_path / "mine", features(["a", "b", "c"]))
    card = card_of(tmp_path, {"path": str(folder)})
    manifest = download(card, tmp_path, options(tolerance=0.25), packaged=True)
    reason = "the package of features lacks slowfast_features/d.npz and clip_features/d.npz"
    assert manifest["missing"] == {"d": reason}
    assert manifest["features"] == ["a", "b", "c"]
    assert (tmp_path / "raw/mine/missing.csv").read_text().splitlines() == ["vid,reason", f"d,{reason}"]
    with pytest.raises(InputError, match=r"1 of 4 videos are missing"):
        download(card, tmp_path, packaged=True)


def test_videos_that_were_downloaded_before_stay_and_are_known(tmp_path, serve):
    address, asked = serve(make_files(tmp_path / "videos", ["a.mp4", "b.mp4"]))
    folder = make_folder(tmp_path / "mine", features(["a", "b"]))
    package = {"path": str(folder), "layout": "moment_detr", "clip_len": 2.0}
    card = make_card(tmp_path, {"source": "url", "url": address + "/{vid}.mp4"}, ["a", "b"], features=package)
    videos = download(card, tmp_path)["videos"]
    manifest = download(card, tmp_path, packaged=True)
    assert (manifest["videos"], manifest["features"]) == (videos, ["a", "b"])
    assert download(card, tmp_path)["videos"] == videos
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"features/clip_features/a.npz": b""}, r"no features in the layout moment_detr.*there is features/clip_feat"),
        ({}, r"no features in the layout moment_detr, which has slowfast_features/\{vid\}\.npz.*there is nothing"),
        (features() | {"x/clip_features/a.npz": b""}, r"holds clip_features/a\.npz twice, as features/.* and x/"),
    ],
)
def test_packages_of_another_layout_say_what_was_expected(tmp_path, files, reason):
    archive = make_tar(tmp_path / "site" / "f.tar.gz", files)
    with pytest.raises(InputError, match=reason):
        download(card_of(tmp_path, {"path": str(archive)}), tmp_path, packaged=True)
    assert not (tmp_path / "raw/mine/package.json").exists()


def test_packages_that_cannot_be_had(tmp_path, serve):
    (tmp_path / "site").mkdir()
    address, _ = serve(tmp_path / "site")
    told = {"instructions": "Ask its authors."}
    with pytest.raises(InputError, match=r"features of mine cannot be had: .*HTTP 404.*\nAsk its authors\."):
        download(card_of(tmp_path, {"url": f"{address}/f.zip"}, **told), tmp_path, packaged=True)
    with pytest.raises(InputError, match=r"nowhere: no such folder or archive of features\nAsk its authors\."):
        download(card_of(tmp_path, {"path": str(tmp_path / "nowhere")}, **told), tmp_path, packaged=True)
    archive = make_tar(tmp_path / "site" / "f.tar.gz", features())
    with pytest.raises(InputError, match=rf"f\.tar\.gz: its sha256 is not {'0' * 64}, which the card gives"):
        download(card_of(tmp_path, {"path": str(archive), "sha256": "0" * 64}), tmp_path, packaged=True)
    archive.write_bytes(archive.read_bytes()[:-40])
    card = card_of(tmp_path, {"url": f"{address}/f.tar.gz"})
    with pytest.raises(InputError, match=r"f\.tar\.gz: .*damaged, cut short"):
        download(card, tmp_path, packaged=True)
    make_tar(archive, features())  # repaired: it is asked for again
    assert download(card, tmp_path, packaged=True)["features"] == VIDS


def test_the_plan_follows_the_cards_package(tmp_path):
    digests = []
    for clip_len in (2.0, 1.0):
        card_of(tmp_path, {"path": "x", "clip_len": clip_len})
        digests.append(shard_digests("mine", 2, tmp_path / "catalog"))
    assert all(digests[0][shard] != digests[1][shard] for shard in digests[0])


def test_a_package_stands_for_encoders(tmp_path):
    write_jsonl(tmp_path / "s.jsonl", [{"vid": "a", "summary": "a walk"}])
    told = {"annotations": None, "summaries": str(tmp_path / "s.jsonl")}
    both, textless = ["clip", "slowfast"], {"path": "x", "text": "clip"}
    assert make_card(tmp_path, LOCAL, VIDS).encoders("package", UNTRAINED) == both
    assert card_of(tmp_path, {"path": "x"}).encoders("videos", UNTRAINED) == both
    assert card_of(tmp_path, {"path": "x"}).encoders("package", UNTRAINED) == []
    assert card_of(tmp_path, textless).encoders("package", UNTRAINED) == ["clip"]
    assert card_of(tmp_path, textless, layout="npy_folder", **told).encoders("package", UNTRAINED) == []
    named = {"mine": {"kind": "clip"}, "slowfast": {}}
    assert card_of(tmp_path, textless).encoders("package", named) == ["mine"]
    with pytest.raises(
        InputError, match=r"features\.text: clip reads the queries, but encoders .* are slowfast; add it"
    ):
        card_of(tmp_path, textless).encoders("package", {"slowfast": {}})
    with pytest.raises(InputError, match=r"features\.text: .*'slowfast' is none of package, clap, clip"):
        card_of(tmp_path, {"path": "x", "text": "slowfast"})


def test_encoders_that_a_package_stands_for_are_listed_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clip", "slowfast"):
        write_json(f"models/encoders/{name}/config.json", {"name": name})
    for names in (["clip", "slowfast"], ["clip"], []):
        collect_encoders(names, SETTINGS)
        assert set(read_json("models/encoders/encoders.json")) == set(names)
        assert {path.name for path in Path("models/encoders").iterdir() if path.is_dir()} == set(names)


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A function that brings a package through the download stage, in a project in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def bring(files, vids=VIDS, layout="moment_detr", tolerance=0.0, text="package", joint=None, **values):
        folder = make_folder(tmp_path / "mine", files)
        origin = {"path": str(folder), "text": text, "joint": joint, "encoders": values.pop("encoders", None)}
        card = card_of(tmp_path, origin, vids, layout, **values)
        manifest = download(card, tmp_path, options(tolerance=tolerance), packaged=True)
        (tmp_path / "data").mkdir(exist_ok=True)
        if not (tmp_path / "data" / "raw").exists():
            (tmp_path / "data" / "raw").symlink_to(tmp_path / "raw")
        return manifest

    return bring


def extract() -> FeatureStore:
    for shard in shard_ids(2):
        extract_shard("mine", shard, SETTINGS)
    extract_text("mine", SETTINGS)
    collect("mine", SETTINGS)
    return FeatureStore("data/features/mine")


def test_a_package_becomes_feature_shards_without_encoders(packed, capsys):
    packed(features(words=4))  # [start] a dog [end]
    store = extract()
    assert store.videos == set(VIDS)
    assert (store.video("b").shape[1], store.text(0).shape[1]) == (10, 4)
    assert len(store.video("b")) == 15
    assert "some encoder has more clips, at most 1; they were cut" in capsys.readouterr().out
    assert read_json("data/features/mine/words.json")["0"] == ["[start]", "a", "dog", "[end]"]
    assert store.spec["package"]["layout"] == "moment_detr"
    assert read_json("data/features/mine/features.json")["failed"] == {}


@pytest.mark.parametrize(("words", "labels"), [(2, ["a", "dog"]), (3, ["a", "dog", ""]), (1, ["a"])])
def test_words_are_labelled_as_well_as_can_be(packed, words, labels):
    packed(features(words=words))
    extract()
    assert read_json("data/features/mine/words.json")["0"] == labels


def test_a_file_with_nan_is_no_feature_and_is_named(packed):
    array = np.ones((15, 4), np.float32)
    array[3] = np.nan
    packed(features() | {"features/clip_features/c.npz": npz(features=array)})
    store = extract()
    assert store.videos == {"a", "b", "d"}
    assert store.failed["c"].endswith("clip_features/c.npz: 1 of its 15 rows are not finite numbers")


def test_queries_without_features_are_an_error(packed):
    files = features()
    del files["features/clip_text_features/qid2.npz"]
    packed(files)
    with pytest.raises(InputError, match=r"1 of 4 queries have no features.*\n  query 2: .*qid2\.npz"):
        extract()


def test_queries_of_videos_that_the_package_lacks_need_none(packed):
    packed(features(["a", "b", "c"]), tolerance=0.25)
    assert extract().videos == {"a", "b", "c"}
    assert set(read_json("data/features/mine/words.json")) == {"0", "1", "2"}


def test_another_clip_length_is_an_error(packed):
    packed(features())
    other = SimpleNamespace(**vars(SETTINGS) | {"clip_len": 1.0})
    with pytest.raises(InputError, match=r"features per 2 s, but clip_len is 1 in params\.yaml"):
        extract_shard("mine", "000", other)


def test_queries_are_read_by_clip_where_the_card_says_so(packed):
    array = np.ones((15, 3), np.float32)
    files = {f"video_features/{vid}_{kind}.npy": array for vid in VIDS for kind in ("rgb", "opt")}
    for name in files:
        file = io.BytesIO()
        np.save(file, array)
        files[name] = file.getvalue()
    packed(files, layout="umt")
    with pytest.raises(InputError, match=r"with text: clip under features in the card, CLIP reads them"):
        extract()
    shutil.rmtree("data/features")
    packed(files, layout="umt", text="clip")
    clip = new_tiny_clip()
    clip.save("models/encoders/clip")
    store = extract()
    assert store.spec["text"] == json.loads(json.dumps(clip.identity))
    np.testing.assert_allclose(store.text(0).norm(dim=1), 1.0, atol=1e-5)
    assert read_json("data/features/mine/words.json")["0"] == clip.words("a dog")


def any_encoders(**query) -> dict[str, bytes]:
    """A package of two encoders, as the card names them."""
    random = np.random.default_rng(0)
    files = {}
    for number, vid in enumerate(VIDS):
        files[f"in/videos/{vid}.npz"] = npz(conse=random.normal(size=(15, 4)), efficientnet=random.normal(size=(15, 6)))
        told = {name: random.normal(size=shape) for name, shape in query.items()}
        files[f"in/queries/{number}.npz"] = npz(tokens=random.normal(size=(2, 4)), **told)
    return files


ANY = {"layout": "npz", "encoders": ["efficientnet", "conse"], "joint": "conse"}


@pytest.mark.parametrize("query", [{}, {"sentence": (4,)}])
def test_a_package_of_any_encoders_with_a_joint_space(packed, query):
    files = any_encoders(**query)
    packed(files, **ANY)
    store = extract()
    assert (store.video("b").shape, store.joint) == ((15, 10), slice(6, 10))
    raw = np.load(io.BytesIO(files["in/queries/1.npz"]))
    expected = raw["sentence"] if query else raw["tokens"].mean(axis=0)
    np.testing.assert_allclose(store.sentence(1), expected / np.linalg.norm(expected), atol=1e-6)
    clips = np.load(io.BytesIO(files["in/videos/b.npz"]))["conse"]
    clips /= np.linalg.norm(clips, axis=1, keepdims=True)
    np.testing.assert_allclose(store.video("b")[:, store.joint], clips, atol=1e-6)


def test_a_joint_encoder_in_whose_space_no_query_lies_ends_at_once(packed):
    packed(any_encoders(), **(ANY | {"joint": "efficientnet"}))
    with pytest.raises(InputError, match="clips are 6 wide, but tokens of queries, whose mean would be the sentence, "):
        extract_shard("mine", "000", SETTINGS)


def test_clip_reads_the_sentences_of_a_package(packed, monkeypatch):
    torch.manual_seed(0)
    clip = new_tiny_clip()
    clip.save("models/encoders/clip")
    files = features()
    packed(files, text="clip", joint="clip")
    with pytest.raises(InputError, match=r"joint encoder clip gives 4 numbers a clip, but sentences .* are 64 wide"):
        extract_shard("mine", "000", SETTINGS)
    for vid in VIDS:
        files[f"features/clip_features/{vid}.npz"] = npz(features=np.ones((15, clip.dim)))
    packed(files, text="clip", joint="clip")
    expected = clip.sentences(["a dog"])[0]
    np.testing.assert_allclose(extract().sentence(0), expected / np.linalg.norm(expected), atol=1e-5)
    monkeypatch.setattr(Clip, "joint", False)
    with pytest.raises(InputError, match=r"sentences that clip_tiny reads have no place among pictures"):
        extract_shard("mine", "000", SETTINGS)


def test_a_dataset_of_summaries_needs_no_text_features(packed, tmp_path):
    (tmp_path / "catalog" / "mine").mkdir(parents=True)
    write_jsonl(tmp_path / "catalog/mine/summaries.jsonl", [{"vid": "a", "summary": "a walk"}])
    file = io.BytesIO()
    np.save(file, np.ones((7, 2048), np.float32))
    packed({"a.npy": file.getvalue()}, [], "npy_folder", annotations=None, summaries="summaries.jsonl")
    store = extract()
    assert store.video("a").shape == (7, 2048)
    assert read_json("data/features/mine/words.json") == {}
