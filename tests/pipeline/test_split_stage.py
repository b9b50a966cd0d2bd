"""The split stage: a file for each number of shots and seed."""

import json
import sys

import numpy as np
import pytest

from pipeline.stages import split
from read.data import FeatureStore, write_shard
from read.errors import InputError
from read.files import read_json, read_jsonl, write_jsonl

SPEC = {"fps": 8.0, "clip_len": 2.0, "encoders": {}}
VIDEOS = [f"v{number}" for number in range(10)]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A project with ten videos, one of them without features; runs the stage with some shots and seeds."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"qid": number, "query": "a dog", "vid": vid, "duration": 8.0, "relevant_windows": [[2, 4]]}
        for number, vid in enumerate(VIDEOS)
    ]
    write_jsonl("data/raw/mine/annotations.jsonl", rows)
    rng = np.random.default_rng(0)
    arrays = {f"clip/{vid}": rng.normal(size=(4, 8)).astype(np.float32) for vid in VIDEOS[1:]}
    write_shard("data/features/mine", "000", arrays, SPEC, {VIDEOS[0]: "broken"})
    elsewhere = {f"clip/{vid}": rng.normal(size=(4, 8)).astype(np.float32) for vid in VIDEOS}
    write_shard("data/features/there", "000", elsewhere, SPEC)

    def run(shots, seeds):
        settings = {
            "clip_len": 2.0, "dataset": "mine", "source": "there", "runs": {"shots": shots, "seeds": seeds},
            "split": {"val_share": 0.25, "test_share": 0.4, "test_seed": 0, "shots_per": "dataset"},
            "protocol": "honest", "domain": None,
        }  # fmt: skip
        monkeypatch.setattr("sys.argv", ["split", "grounding", "--settings", json.dumps(settings)])
        split.main()
        folder = tmp_path / "data/splits/mine/grounding"
        return {path.stem: read_json(path) for path in folder.glob("k*.json")}, read_json(folder / "splits.json")

    return run


def test_a_file_for_each_run_with_nested_shots_and_one_test_side(stage):
    splits, names = stage([2, 4], [0, 1])
    assert sorted(names) == [f"{name}.json" for name in sorted(splits)] == [
        f"k{shots}-s{seed}.json" for shots in (2, 4) for seed in (0, 1)
    ]  # fmt: skip
    for seed in (0, 1):
        assert set(splits[f"k2-s{seed}"]["train"]) < set(splits[f"k4-s{seed}"]["train"])
    assert len({tuple(sorted(one["test"])) for one in splits.values()}) == 1
    for one in splits.values():
        sides = [*one["train"], *one["val"], *one["test"]]
        assert len(sides) == len(set(sides))
        assert VIDEOS[0] not in sides  # it has no features
        assert one["rule"]


def test_seeds_have_labelled_videos_of_their_own(stage):
    splits = stage([1, 3], [0, 1])[0]
    labelled = [{*splits[f"k1-s{seed}"]["train"], *splits[f"k1-s{seed}"]["val"]} for seed in (0, 1)]
    assert labelled[0] != labelled[1]  # 5 videos hold one hand of 4
    splits = stage([1], [0, 1])[0]
    labelled = [{*splits[f"k1-s{seed}"]["train"], *splits[f"k1-s{seed}"]["val"]} for seed in (0, 1)]
    assert [len(part) for part in labelled] == [2, 2] and not labelled[0] & labelled[1]


def test_files_of_runs_that_are_no_longer_asked_for_go(stage):
    stage([2, 4], [0])
    assert set(stage([2], [0])[0]) == {"k2-s0"}


def test_copies_are_drawn_to_one_side_and_may_not_be_named_two(stage, tmp_path):
    sides = stage([2], [0])[0]["k2-s0"]
    pairs = [(sides["train"][0], sides["test"][0]), (sides["train"][1], sides["val"][0])]
    arrays = {f"clip/{vid}": np.random.default_rng(i).normal(size=(4, 8)) for i, vid in enumerate(VIDEOS[1:])}
    for original, copy in pairs:
        arrays[f"clip/{copy}"] = arrays[f"clip/{original}"] + 1e-3
    write_shard(tmp_path / "data/features/mine", "000", arrays, SPEC)
    for split_of in stage([1, 2], [0, 1, 2])[0].values():
        side = {vid: name for name in ("train", "val", "test") for vid in split_of[name]}
        assert all(side.get(one) == side.get(other) or None in (side.get(one), side.get(other)) for one, other in pairs)
        assert len(split_of["test"]) in (4, 5)  # 40 % of 9, and the copy of the last
    arrays[f"clip/{pairs[1][1]}"] = np.random.default_rng(99).normal(size=(4, 8))
    write_shard(tmp_path / "data/features/mine", "000", arrays, SPEC)
    rows = read_jsonl("data/raw/mine/annotations.jsonl")
    named = [row | {"split": "test" if row["vid"] == pairs[0][1] else "train"} for row in rows]
    write_jsonl("data/raw/mine/annotations.jsonl", named)
    with pytest.raises(InputError, match="near-identical") as error:
        stage([6], [0])
    assert all(vid in str(error.value) for vid in pairs[0])


def test_a_copy_of_a_test_video_in_the_source_fails_the_stage(stage, capsys):
    test = stage([2], [0])[0]["k2-s0"]["test"][0]  # the source has a video of this name too, with another content
    arrays = {f"clip/{vid}": np.random.default_rng(50 + i).normal(size=(4, 8)) for i, vid in enumerate(VIDEOS)}
    arrays |= {"clip/other": FeatureStore("data/features/mine").video(test).numpy() + 1e-3}
    write_shard("data/features/there", "000", arrays, SPEC)
    with pytest.raises(InputError, match=rf"{test} \(test\) and there/other \(source\): their features are near"):
        stage([2], [0])
    write_shard("data/features/there", "000", arrays, SPEC | {"fps": 4.0})
    stage([2], [0])
    assert "there has other features" in capsys.readouterr().out


def test_more_shots_than_videos(stage):
    with pytest.raises(InputError, match=r"50 shots .*the train side holds 5 videos; ask for at most 4 shots"):
        stage([2, 50], [0])


def test_no_video_has_features(stage, tmp_path):
    write_shard("data/features/mine", "000", {"clip/other": np.ones((4, 2), np.float32)}, SPEC)
    with pytest.raises(
        InputError, match=r"mine: no labelled video has features; .*manifest\.json says what is missing"
    ):
        stage([2], [0])


def test_summaries_alone_are_split_likewise(stage, tmp_path, monkeypatch):
    """A dataset without queries has an empty annotations.jsonl."""
    write_jsonl("data/raw/mine/annotations.jsonl", [])
    write_jsonl("data/raw/mine/summaries.jsonl", [{"vid": vid, "summary": "a dog"} for vid in VIDEOS])
    write_jsonl("data/transcripts/mine/transcripts.jsonl", [])
    with pytest.raises(InputError, match="nothing that is labelled for grounding; take grounding out of `task`"):
        stage([2], [0])
    argv = ["split", "summarization", *sys.argv[2:]]
    monkeypatch.setattr("sys.argv", argv)
    split.main()
    sides = read_json(tmp_path / "data/splits/mine/summarization/k2-s0.json")
    assert len(sides["train"]) == 2 and VIDEOS[0] not in sides["test"]
