"""What the stages after extraction see of a dataset."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline import paths
from pipeline.code import settings
from pipeline.data import load_features, load_labels, pretraining_videos
from pipeline.params import check_params, load_params, parse_settings
from pipeline.stages import encoders
from pipeline.tasks import work_on
from read.data import SplitSettings, make_split, write_shard
from read.data.annotations import Annotation
from read.data.features import text_arrays
from read.files import write_json, write_jsonl
from read.grounding.windows import WindowSettings


def label(number: int) -> Annotation:
    kind, side = ("cooking", "sports")[number % 2], "test" if number >= 16 else "train"
    return Annotation(number, "q", f"v{number}", 8.0, ((2, 6),), (1, 2), ((4,), (4,)), kind, side)


def test_transfer_pretrains_on_the_train_sides_of_the_other_domains():
    labels = [label(number) for number in range(24)]
    seen = pretraining_videos(labels, "sports")
    assert seen == {one.vid for one in labels if one.kind == "cooking" and one.split == "train"}
    split = make_split(labels, 4, 1, SplitSettings(0.25, 0.4, protocol="transfer", target="sports"))
    assert not seen & {*split.train, *split.val, *split.test}
    assert {*split.test} == {one.vid for one in labels if one.kind == "sports" and one.split == "test"}
    assert pretraining_videos(labels, None) is None


def test_small_encoders_learn_from_what_pretraining_may_see(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        {"qid": n, "query": "a", "vid": f"v{n}", "duration": 9, "relevant_windows": [[1, 3]], "kind": "xy"[n % 2]}
        | {"split": ("train", "train", "test", "test")[n % 4]}
        for n in range(8)
    ]
    folder = paths.raw("mine")
    write_jsonl(folder / "annotations.jsonl", rows)
    segment = {"start": 0, "end": 2, "text": "a", "move": 0}
    write_jsonl(folder / "segments.jsonl", [segment | {"vid": f"v{n}"} for n in range(8)])
    write_json(folder / "manifest.json", {"videos": {f"v{n}": {"file": f"v{n}.mp4"} for n in range(8)}})
    monkeypatch.setattr(encoders, "load_footage", lambda segments, *_: {segment.video.stem for segment in segments})
    given = {"source": "mine", "clip_len": 2.0, "extract": SimpleNamespace(fps=8.0)}
    given["encoders"] = {"clip": {"model": "clip_tiny"}}
    assert encoders._footage(SimpleNamespace(**given, domain="x"), 64, folder) == {
        "v1",
        "v5",
    }  # of the other kind, to train on
    assert encoders._footage(SimpleNamespace(**given, domain=None), 64, folder) == {f"v{n}" for n in range(8)}


@pytest.mark.parametrize("windows", ["auto", "ladder", "runs", "spans"])
def test_what_chooses_reads_windows_as_the_report_does(tmp_path, monkeypatch, windows):
    write_json(tmp_path / "data/raw/montage/dataset.json", {"metric": "qvhighlights"})
    values = load_params().model_dump(mode="json")
    values["evaluate"]["grounding"]["windows"] = windows
    params = check_params(values)
    given = {stage: parse_settings(settings(stage, params, task="grounding")) for stage in ("pretrain", "train")}
    monkeypatch.chdir(tmp_path)
    for stage in given:
        assert work_on("grounding", given[stage]).task("montage").windows == WindowSettings(windows)


def test_summaries_are_chosen_without_windows():
    assert not hasattr(parse_settings(settings("train", load_params(), task="summarization")), "evaluate")


def test_a_job_checks_its_files_once_and_again_where_one_is_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec, opened = {"encoders": {"clip": {}}, "clip_len": 2.0}, []

    def write(seed: int) -> None:
        rng = np.random.default_rng(seed)
        write_shard(paths.features("mine"), "000", {"clip/v": rng.normal(size=(3, 4))}, spec)
        write_shard(paths.features("mine"), "text", text_arrays([1], [rng.normal(size=(2, 4))]), spec)

    monkeypatch.setattr("read.data.tensor_files.check_sha256", lambda path, digest: opened.append(path.name))
    row = {"qid": 1, "query": "a", "vid": "v", "duration": 6, "relevant_windows": [[0, 2]]}
    write_jsonl(paths.raw("mine") / "annotations.jsonl", [row])
    write(0)
    how = SimpleNamespace(clip_len=2.0)
    store, labels = load_features("mine", how), load_labels("grounding", "mine", how)
    assert load_features("mine", how) is store and opened == ["000.safetensors", "text.safetensors"]
    write_jsonl(paths.raw("mine") / "annotations.jsonl", [row | {"query": "b"}])
    assert [labels[0].query, load_labels("grounding", "mine", how)[0].query] == ["a", "b"]
    before = store.video("v")
    write(1)
    assert not load_features("mine", how).video("v").equal(before) and len(opened) == 4
