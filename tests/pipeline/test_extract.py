"""The stage around the extractor: what it writes, what it lists as failed, what it refuses."""

import json
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors import safe_open

from pipeline import paths
from pipeline.data import load_labels
from pipeline.machine import TOLD
from pipeline.stages import extract
from read.data import FeatureStore, Sample
from read.encoders.extractor import ExtractorSettings
from read.errors import InputError
from read.files import read_json, write_json, write_jsonl
from read.grounding.fusion import CurveFusion
from read.grounding.inference import prediction_row
from read.grounding.windows import Reading, WindowSettings
from tests.pipeline.datasets import OneByOne

SETTINGS = SimpleNamespace(clip_len=2.0, extract=SimpleNamespace(fps=8.0, dtype="float32", normalise=True))
CODE = "0123"
QUERY = {"qid": 1, "query": "a dog", "vid": "a", "duration": 6.0, "relevant_windows": [[0, 2]]}


class Fake(OneByOne):
    """An extractor that cannot decode what is called bad, and a CLIP that reads words."""

    told = ""

    def __init__(self):
        self.spec = {"clip_len": 2.0, "encoders": {"clip": {"name": "fake"}}}
        self.reader = self

    def video(self, path):
        if path.stem == "bad":
            raise InputError(f"{path}: ffmpeg decoded no frame")
        return SimpleNamespace(arrays={"clip": np.ones((3, 4), np.float32)}, seconds=5.5, told=self.told)

    def read(self, queries):
        words = [np.ones((len(query.split()), 4), np.float32) for query in queries]
        return words, np.arange(1.0, 1 + 4 * len(queries), dtype=np.float32).reshape(-1, 4)

    def words(self, query):
        return query.split()


def divide(folder, shards, content=None):
    """The lists of the download stage: shard -> its videos, each of some content."""
    for old in (folder / "shards").glob("*.json") if content else ():
        old.unlink()
    for shard, vids in shards.items():
        listed = {vid: {"file": f"{vid}.mp4", "sha256": (content or {}).get(vid, vid)} for vid in vids}
        write_json(folder / "shards" / f"{shard}.json", {"videos": listed, "missing": {}})


@pytest.fixture(autouse=True)
def raw(tmp_path, monkeypatch):
    """A dataset of two videos in two shards, as the download stage leaves it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extract, "extractor_of", lambda settings: Fake())
    folder = paths.raw("mine")
    for shard, vid in (("000", "a"), ("001", "bad")):
        divide(folder, {shard: [vid]})
    write_jsonl(folder / "annotations.jsonl", [QUERY])
    return folder


def run(*shards):
    for shard in shards:
        extract.extract_shard("mine", shard, SETTINGS, CODE)
    extract.extract_text("mine", SETTINGS)
    extract.collect("mine", SETTINGS)
    return FeatureStore(paths.features("mine"))


def test_what_cannot_be_decoded_is_listed_with_its_reason(raw, capsys):
    store = run("000", "001")
    assert store.videos == {"a"}
    reason = f"{raw}/videos/bad.mp4: ffmpeg decoded no frame"
    assert store.failed == {"bad": reason}
    assert read_json(paths.features("mine") / "features.json")["failed"] == {"bad": reason}
    assert f"no features of bad: {reason}" in capsys.readouterr().out
    assert read_json(paths.features("mine") / "words.json") == {"1": ["a", "dog"]}
    assert (store.video("a").shape[1], store.text(1).shape[1]) == (4, 4)


def test_what_there_is_to_say_of_the_sound_stays_with_the_features(raw, monkeypatch, capsys):
    monkeypatch.setattr(Fake, "told", "has no sound track")
    assert run("000", "001").told == {"a": "has no sound track"}
    assert "a: has no sound track" in capsys.readouterr().out
    monkeypatch.setattr(Fake, "told", "is not read again")
    assert run("000", "001").told == {"a": "has no sound track"}  # as its features were taken over
    assert read_json(paths.features("mine") / "features.json")["told"] == {"a": "has no sound track"}


def test_sentences_are_kept_where_there_is_a_joint_space(raw, monkeypatch):
    assert run("000", "001").sentence(1) is None
    fake = Fake()
    fake.spec = fake.spec | {"joint": "clip"}
    monkeypatch.setattr(extract, "extractor_of", lambda settings: fake)
    write_jsonl(raw / "annotations.jsonl", [QUERY, QUERY | {"qid": 2}])
    store = run("000", "001")
    assert store.joint == slice(0, 4)
    for qid, numbers in ((1, [1.0, 2, 3, 4]), (2, [5.0, 6, 7, 8])):
        torch.testing.assert_close(store.sentence(qid), torch.tensor(numbers) / torch.tensor(numbers).norm())


def test_a_dataset_without_queries_has_an_empty_text_shard(raw):
    (raw / "annotations.jsonl").write_text("")
    assert run("000", "001").videos == {"a"}
    assert read_json(paths.features("mine") / "words.json") == {}


def test_shards_that_are_no_more_go(raw):
    run("000", "001")
    (raw / "shards" / "001.json").unlink()
    extract.collect("mine", SETTINGS)
    assert not (paths.features("mine") / "001.safetensors").exists()
    assert FeatureStore(paths.features("mine")).failed == {}


def test_no_feature_at_all_is_an_error(raw):
    (raw / "shards" / "000.json").unlink()
    with pytest.raises(InputError, match=r"mine: no video could be decoded\n  bad: .*no frame"):
        run("001")


def test_mistakes_in_annotations_are_told(raw):
    (raw / "annotations.jsonl").write_text(json.dumps(QUERY | {"query": ""}) + "\n")
    with pytest.raises(InputError, match=r"annotations\.jsonl:1: "):
        extract.extract_text("mine", SETTINGS)


def test_labels_that_do_not_fit_their_video_are_told_before_anything_trains(raw):
    rows = [
        QUERY,
        QUERY | {"qid": 2, "duration": 5500, "relevant_windows": [[0, 2000]]},
        QUERY | {"qid": 3, "duration": None, "relevant_windows": [[0, 2], [100, 130]]},
        QUERY | {"qid": 4, "duration": 8.7},
        QUERY | {"qid": 5, "vid": "bad", "duration": 8.7},
    ]
    write_jsonl(raw / "annotations.jsonl", rows)
    with pytest.raises(InputError) as caught:
        run("000", "001")
    file = raw / "annotations.jsonl"
    assert str(caught.value).splitlines() == [
        f"{file}:2: qid 2: duration 5500 s, but the file lasts 5.5 s; are these milliseconds?",
        f"{file}:3: qid 3: a window ends at 130 s, but the file lasts 5.5 s; are these frames?",
        f"{file}:4: qid 4: duration 8.7 s, but the file lasts 5.5 s; is it of the uncut original?",
    ]
    assert not (paths.features("mine") / "features.json").exists()


def test_a_duration_that_is_not_told_is_that_of_the_file(raw):
    write_jsonl(raw / "annotations.jsonl", [QUERY | {"duration": None, "relevant_windows": [[0, 2], [4, 5.9]]}])
    run("000", "001")
    assert read_json(paths.features("mine") / "features.json")["seconds"] == {"a": 5.5}
    (annotation,) = load_labels("grounding", "mine", SETTINGS)
    assert (annotation.duration, annotation.windows) == (5.5, ((0.0, 2.0), (4.0, 5.5)))


def test_a_moment_does_not_end_after_the_pictures_where_the_stated_duration_is_rounded(raw):
    run("000", "001")
    (annotation,) = load_labels("grounding", "mine", SETTINGS)
    assert (annotation.duration, annotation.pictures) == (6.0, 5.5)
    readings = [Reading(0, np.array([[0.5, 1.0]]), np.ones(1), np.zeros(3))]
    sample = Sample.labelled(torch.ones(3, 4), torch.ones(1, 4), annotation, 2.0)
    row = prediction_row(sample, readings, WindowSettings("spans"), CurveFusion(dense=False))
    assert row["pred_relevant_windows"] == [[3.0, 5.5, 1.0]]


class Counting(Fake):
    """It remembers which videos it read, and gives each features of its own."""

    seen: ClassVar[list[str]] = []
    scale: ClassVar[float] = 1.0

    def video(self, path):
        self.seen.append(path.stem)
        rows = np.full((3, 4), self.scale * ord(path.stem), np.float32)
        return SimpleNamespace(arrays={"clip": rows}, seconds=6.0, told="")


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(extract, "extractor_of", lambda settings: Counting())
    monkeypatch.setattr(Counting, "seen", [])
    return Counting.seen


@pytest.mark.parametrize("order", [("000", "001"), ("001", "000")])
def test_another_number_of_shards_regroups_the_features(raw, counted, order):
    divide(raw, {"000": ["a", "b", "c", "d"]}, {"a": "a"})
    run("000")
    assert sorted(counted) == ["a", "b", "c", "d"]
    counted.clear()
    divide(raw, {"000": ["a", "c"], "001": ["b", "d"]}, {"a": "a"})
    store = run(*order)
    assert counted == [] and store.videos == {"a", "b", "c", "d"}
    folder = paths.features("mine")
    assert read_json(folder / "000.json")["seconds"].keys() == {"a", "c"}
    assert sorted(path.stem for path in folder.glob("*.safetensors")) == ["000", "001", "text"]  # the rest is gone
    divide(raw, {"000": ["a", "b", "c", "d"]}, {"a": "a"})
    store = run("000")
    assert counted == [] and all(store.video(vid).shape == (3, 4) for vid in "abcd")
    with safe_open(folder / "000.safetensors", "numpy") as file:
        assert {vid: float(file.get_tensor(f"clip/{vid}")[0, 0]) for vid in "abcd"} == {vid: ord(vid) for vid in "abcd"}


def test_a_shard_lists_its_videos_in_one_order_whatever_was_taken_over(raw, counted):
    """Equal inputs give equal bytes: neither the order of a set nor what there was before shows."""
    ids = list("hgfedcba")
    divide(raw, {"000": ids[3:5]}, {"h": "h"})
    run("000")
    divide(raw, {"000": ids}, {"h": "h"})
    counted.clear()
    run("000")
    about, listed = read_json(paths.features("mine") / "000.json"), read_json(raw / "shards/000.json")["videos"]
    assert len(counted) == 6
    assert list(about["seconds"]) == list(about["made"]) == list(listed) == ids


def test_only_features_of_the_same_content_and_code_are_taken_over(raw, counted, monkeypatch):
    divide(raw, {"000": ["a", "b"]}, {"a": "a"})
    run("000")
    counted.clear()
    divide(raw, {"000": ["a", "b", "c"]}, {"a": "another"})
    run("000")
    assert sorted(counted) == ["a", "c"]  # what is new, and what is another video by the same name
    counted.clear()
    monkeypatch.setattr(f"{__name__}.CODE", "4567")
    run("000")
    assert sorted(counted) == ["a", "b", "c"]
    counted.clear()
    monkeypatch.setattr(Counting, "__init__", lambda self: setattr(self, "spec", {"clip_len": 2.0, "encoders": {}}))
    extract.extract_shard("mine", "000", SETTINGS, CODE)
    assert sorted(counted) == ["a", "b", "c"]


def test_other_features_of_the_same_videos_show_in_the_list(raw, counted, monkeypatch):
    """By which the jobs after it are due: all else in it may be as it was."""
    run("000")
    before = read_json(paths.features("mine") / "features.json")
    monkeypatch.setattr(f"{__name__}.CODE", "4567")
    monkeypatch.setattr(Counting, "scale", 2.0)
    run("000")
    after = read_json(paths.features("mine") / "features.json")
    assert before.pop("sha256")["000"] != after.pop("sha256")["000"]
    assert before == after


def test_half_a_shard_of_a_killed_job_is_not_taken_over(raw, counted):
    divide(raw, {"000": ["a"]}, {"a": "a"})
    run("000")
    counted.clear()
    (paths.features("mine") / "000.json").unlink()  # it comes last
    run("000")
    assert counted == ["a"]


def test_the_machine_says_how_many_videos_are_decoded_at_once(monkeypatch, raw):
    monkeypatch.undo()
    seen = []
    monkeypatch.setattr(extract, "Extractor", lambda wanted, *_: seen.append(wanted))
    for machine in ({}, {"decoders": 3, "batch_size": 5, "precision": "fp32"}):
        monkeypatch.setenv(TOLD, json.dumps(machine))
        extract.extractor_of(SimpleNamespace(**vars(SETTINGS), encoders=[]))
    assert seen == [ExtractorSettings(8.0, 2.0, 64, None), ExtractorSettings(8.0, 2.0, 5, 3, half=False)]
