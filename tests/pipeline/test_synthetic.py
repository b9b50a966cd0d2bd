"""A dataset of noise beside a dataset: the same labels, a package in a published layout, a card that says so."""

import sys

import numpy as np
import pytest
import yaml

from pipeline import synthetic
from pipeline.card import load_card
from read.data.annotations import clips_of
from read.data.packages import Package
from read.errors import InputError
from read.files import write_json, write_jsonl
from tests.pipeline.conftest import ROOT

DURATIONS = {"a": 30.0, "b": 31.5, "c": 8.0}


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """A project with a dataset of three videos, two of them with queries beside the card, one with a summary."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "catalog" / "mine"
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    rows = [
        {"qid": number, "query": "a dog runs"[: 5 + 5 * number], "vid": vid, "duration": DURATIONS[vid]}
        | {"relevant_windows": [[2, 8]], "split": "test"}
        for number, vid in enumerate("ab")
    ]
    write_jsonl(folder / "queries.jsonl", rows)
    write_jsonl(folder / "summaries.jsonl", [{"vid": "c", "summary": "a walk"}])
    values = {"title": "Mine", "licence": "l", "annotations": [{"file": "queries.jsonl"}], "layout": "qvhighlights"}
    values |= {"summaries": "summaries.jsonl", "videos": {"source": "local", "folder": "videos"}, "metric": "tvsum"}
    (folder / "card.yaml").write_text(yaml.safe_dump(values))
    return folder.parent


def make(monkeypatch, *options) -> None:
    monkeypatch.setattr(sys, "argv", ["synthetic", "mine", *options])
    synthetic.main()


def opened(path, layout: str = "moment_detr", encoders=None) -> Package:
    """The package as the download stage leaves it."""
    folder = path.parent / "opened"
    folder.mkdir(exist_ok=True)
    (folder / "package.zip").write_bytes(path.read_bytes())
    record = {"layout": layout, "encoders": encoders, "joint": None, "clip_len": 2.0, "sha256": "5", "text": "package"}
    record |= {"sound": None, "normalise": True}
    write_json(folder / "package.json", record)
    return Package(folder)


def test_noise_for_every_clip_and_word(catalog, monkeypatch, capsys):
    make(monkeypatch, "--width", "24")
    assert "`dataset: mine-synthetic` and `features: package`" in capsys.readouterr().out
    package = opened(catalog.parent / "manual" / "mine-synthetic.zip")
    arrays = {vid: package.video(vid) for vid in "abc"}
    clips = {"a": clips_of(30.0, 2.0), "b": clips_of(31.5, 2.0), "c": synthetic.CLIPS}
    for vid, found in arrays.items():
        assert {array.shape for array in found.values()} == {(clips[vid], 24)}
    assert [len(package.text(qid, "")) for qid in (0, 1)] == [2, 3]
    whole = [array for found in arrays.values() for array in found.values()]
    assert abs(np.concatenate(whole).mean()) < 0.1 and np.concatenate(whole).std() == pytest.approx(1.0, abs=0.1)
    apart = [
        np.corrcoef(one[:8].ravel(), other[:8].ravel())[0, 1] for one in whole for other in whole if one is not other
    ]
    assert max(map(abs, apart)) < 0.4


def test_a_layout_whose_encoders_the_card_names(catalog, monkeypatch):
    make(monkeypatch, "--layout", "npz")
    card = load_card("mine-synthetic")
    package = opened(catalog.parent / "manual" / "mine-synthetic.zip", "npz", card.features.encoders)
    first, second = package.video("a").values()
    assert first.shape == second.shape == (15, 16) and not np.array_equal(first, second)
    assert package.text(1, "b").shape == (3, 16)


def test_the_same_noise_each_time(catalog, monkeypatch):
    path = catalog.parent / "manual" / "mine-synthetic.zip"
    make(monkeypatch)
    first = path.read_bytes()
    make(monkeypatch)
    assert path.read_bytes() == first


def test_its_card_has_the_labels_and_says_what_it_is(catalog, monkeypatch):
    make(monkeypatch)
    card, original = load_card("mine-synthetic"), load_card("mine")
    assert (card.synthetic, card.title, card.metric) == (True, "Mine, synthetic features", "tvsum")
    assert [path.resolve() for path in card.files[1:]] == [path.resolve() for path in original.files[1:]]
    assert card.path(card.features.path).resolve() == (catalog.parent / "manual" / "mine-synthetic.zip").resolve()
    assert card.encoders("package", {"clip": {}}) == []
    assert "set features: package in params.yaml" in card.instructions
    assert not original.synthetic


def test_addresses_and_digests_stay_as_they_are(catalog):
    part = {"url": "https://e.org/a.jsonl", "sha256": "0" * 64, "split": "test"}
    assert synthetic._moved("annotations", [part], "mine") == [part]
    assert synthetic._moved("annotations", {"url": part["url"]}, "mine") == {"url": part["url"]}
    assert synthetic._moved("file", "../../manual/x", "mine") == "../../manual/x"
    assert synthetic._moved("annotations", "/all/a.jsonl", "mine") == "/all/a.jsonl"
    assert synthetic._moved("title", "a.jsonl", "mine") == "a.jsonl"


def test_a_layout_without_features_of_queries(catalog, monkeypatch):
    with pytest.raises(InputError, match="the layout npy_folder has no features of queries; take moment_detr"):
        make(monkeypatch, "--layout", "npy_folder")
    assert not (catalog / "mine-synthetic").exists()
