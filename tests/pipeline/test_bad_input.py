"""Bad input ends in one message that names what is at fault, as early as it can be seen, and never in a traceback."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from pipeline import paths
from pipeline.data import load_features
from pipeline.params import load_params
from pipeline.stages import extract
from pipeline.stages.train import check_features
from read.data import FeatureStore, write_shard
from read.encoders.frames import write_video
from read.errors import InputError
from read.files import read_json, write_json, write_jsonl

SPEC = {"fps": 8.0, "clip_len": 2.0, "size": 64, "encoders": {"clip": {"digest": "a"}}}


@pytest.fixture
def fresh(fresh_project):
    """A project that has never run, as it was, after each test."""
    yield fresh_project
    fresh_project.git("checkout", "--quiet", ".")
    fresh_project.git("clean", "--quiet", "-d", "-x", "--force", "data")


def refusal(project, *arguments: str) -> str:
    """The message with which planning fails."""
    text = project.snakemake("-n", *arguments, status=1)
    assert "Traceback" not in text
    return text


def own_dataset(project, rows: list[dict]) -> None:
    """Make `mine` the dataset: a card, annotations and a folder of videos beside it."""
    folder = project.folder / "data/catalog/mine"
    (folder / "videos").mkdir(parents=True)
    card = {"title": "t", "licence": "l", "annotations": "annotations.jsonl"}
    card["videos"] = {"source": "local", "folder": "videos"}
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    write_jsonl(folder / "annotations.jsonl", rows)
    project.edit({"dataset": "mine"})


def row(number: int, vid: str, duration: float = 4.0) -> dict:
    return {"qid": number, "query": "a dog", "vid": vid, "duration": duration, "relevant_windows": [[0, 2]]}


def test_all_mistakes_in_the_params_before_anything_runs(fresh):
    fresh.edit({"train.grounding.stepps": 3, "extract.fps": "eight", "strategies.read": 3})
    text = refusal(fresh)
    assert "params.yaml: train.grounding.stepps: unknown key; did you mean train.grounding.steps?" in text
    assert "params.yaml: extract.fps: Input should be a valid number (found 'eight')" in text
    assert "params.yaml: strategies.read: Input should be a valid dictionary (found 3)" in text


@pytest.mark.parametrize(
    ("content", "reason"), [("train: [1\n", "YAML"), ("", "keys at top level"), ("- a\n", "keys at top level")]
)
def test_a_params_file_that_is_none(fresh, content, reason):
    (fresh.folder / "params.yaml").write_text(content)
    assert reason in refusal(fresh)


def test_unknown_strategies_and_options_before_anything_runs(fresh):
    fresh.edit({"strategies": {"raed": {}, "read": {"bottelneck": 8}}})
    text = refusal(fresh)
    assert "params.yaml: strategies.raed: no strategy 'raed'; did you mean read?" in text
    assert "strategies.read: strategy read has no option 'bottelneck'; did you mean bottleneck?" in text


def test_a_dataset_without_a_card(fresh):
    fresh.edit({"dataset": "montagge"})
    text = refusal(fresh)
    assert "dataset 'montagge' is none of" in text and "did you mean montage?" in text


def test_a_key_that_stands_twice_in_the_params(fresh):
    params = fresh.folder / "params.yaml"
    params.write_text(params.read_text() + "clip_len: 1.0\n")
    assert "params.yaml: key 'clip_len' stands twice, again on line" in refusal(fresh)


def test_a_card_whose_annotations_are_not_there_or_broken(fresh):
    own_dataset(fresh, [row(1, "a")])
    annotations = fresh.folder / "data/catalog/mine/annotations.jsonl"
    annotations.write_text(annotations.read_text() + "{\n")
    assert "annotations.jsonl:2: not JSON: " in refusal(fresh)
    annotations.unlink()
    assert "annotations.jsonl: no such annotation file" in refusal(fresh)


def test_mistakes_in_annotations_stop_the_first_job_with_their_lines(fresh):
    mistaken = {"9": {"relevant_windows": [[2, 9]]}, "1]": {"relevant_windows": [[3, 1]]}}
    mistaken["qid 1 stands already on line 1"] = {"qid": 1}
    own_dataset(fresh, [row(1, "a"), *(row(n, "a") | changes for n, changes in enumerate(mistaken.values(), start=2))])
    text = fresh.snakemake("data/raw/mine/manifest.json", status=1)
    for line, reason in enumerate(mistaken, start=2):  # the job's log is shown
        place = f"data/catalog/mine/annotations.jsonl:{line}: "
        assert place in text
        assert reason in text.partition(place)[2].splitlines()[0]
    assert not (fresh.folder / "data/raw/mine").exists() or not list((fresh.folder / "data/raw/mine").glob("*.jsonl"))


def test_queries_of_an_unknown_video(fresh):
    own_dataset(fresh, [row(1, "nobody")])
    text = fresh.snakemake("data/raw/mine/manifest.json", status=1)
    assert "1 of 1 videos are missing" in text
    assert "nobody: no video named nobody" in text


@pytest.mark.slow
def test_more_shots_than_videos(project):
    project.edit({"runs.shots": [2, 50]})
    text = project.snakemake(status=1)
    assert "error: 50 shots and 12 videos for validation were asked for, but the train side holds 6 videos" in text
    assert "Traceback" not in text
    assert json.loads(project.dvc("status", "--json"))  # nothing was recorded


@pytest.fixture
def encoders(project, monkeypatch) -> SimpleNamespace:
    """The settings of extraction in a project whose encoders are trained, and the working directory in it."""
    monkeypatch.chdir(project.folder)
    params = load_params()
    return SimpleNamespace(
        clip_len=params.clip_len, device="cpu", extract=params.extract, encoders=["slowfast", "clip"]
    )


def list_shard(vids: dict[str, str]) -> None:
    """What the download stage lists of dataset `mine`: video id -> file."""
    write_json("data/raw/mine/shards/000.json", {"videos": {v: {"file": f} for v, f in vids.items()}, "missing": {}})


@pytest.mark.slow
def test_videos_that_cannot_be_decoded_are_listed_each_with_its_reason(footage, encoders):
    videos = paths.raw("mine") / "videos"
    shutil.copytree(footage / "bad", videos)
    write_video(videos / "good.mp4", np.zeros((32, 64, 64, 3), np.uint8), 8)
    bad = sorted(path.name for path in videos.iterdir() if path.name != "good.mp4")
    list_shard({Path(name).stem: name for name in [*bad, "good.mp4"]})
    write_jsonl("data/raw/mine/annotations.jsonl", [row(1, "good")])
    extract.extract_shard("mine", "000", encoders)
    extract.extract_text("mine", encoders)
    extract.collect("mine", encoders)
    listed = read_json("data/features/mine/features.json")
    assert listed["videos"] == 1
    assert sorted(listed["failed"]) == sorted(Path(name).stem for name in bad)
    for name in bad:
        reason = listed["failed"][Path(name).stem]
        assert name in reason
        assert "\n" not in reason
    assert "no video stream" in listed["failed"]["audio_only"]
    assert FeatureStore("data/features/mine").videos == {"good"}


@pytest.mark.slow
def test_no_video_at_all_can_be_decoded(encoders):
    (paths.raw("mine") / "videos").mkdir(parents=True)
    (paths.raw("mine") / "videos/text.mp4").write_text("no video")
    list_shard({"text": "text.mp4"})
    write_jsonl("data/raw/mine/annotations.jsonl", [row(1, "text")])
    extract.extract_shard("mine", "000", encoders)
    with pytest.raises(InputError, match=r"mine: no video could be decoded\n  text: .*text\.mp4"):
        extract.collect("mine", encoders)


@pytest.mark.slow
def test_without_ffmpeg_the_job_fails_and_not_each_video(encoders, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    list_shard({"a": "a.mp4"})
    with pytest.raises(InputError, match="ffmpeg was not found: install it"):
        extract.extract_shard("mine", "000", encoders)
    assert not Path("data/features/mine").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mount", ["ro", "size=16k"])
@pytest.mark.parametrize("part", ["split grounding", "extract text montage"])
def test_a_full_or_read_only_disk_is_one_message(project, mount, part):
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no private mounts on this machine")
    stage, *arguments = part.split()
    if stage == "split":
        mount = mount.replace("16k", "4k")  # its files are small
    params = yaml.safe_load((project.folder / "params.yaml").read_text())
    keys = yaml.safe_load((project.folder / "dvc.yaml").read_text())["stages"][stage]["params"]
    keys = [key for key in keys if isinstance(key, str)]
    job = [
        sys.executable,
        "-m",
        f"pipeline.stages.{stage}",
        *arguments,
        "--settings",
        json.dumps({k: params[k] for k in keys}),
        *(["--encoders", *params["encoders"]] if stage == "extract" else []),
    ]
    folder = {"split": "data/splits/montage", "extract": "data/features/montage"}[stage]
    script = f'mount -t tmpfs -o {mount} tmpfs {folder} && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *job],
        cwd=project.folder, env=project.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert ("read-only" if mount == "ro" else "no space left") in done.stderr.lower()


def made_features(folder: Path, specs: dict[str, dict]) -> Path:
    for name, spec in specs.items():
        arrays = {"tokens/1" if name == "text" else "clip/a": np.ones((2, 2), np.float32)}
        write_shard(folder, name, arrays, spec)
    return folder


def test_shards_of_two_extractors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = SPEC | {"encoders": {"clip": {"digest": "b"}}}
    made_features(paths.features("mine"), {"000": SPEC, "001": other, "text": SPEC})
    for shard in ("000", "001"):
        write_json(f"data/raw/mine/shards/{shard}.json", {"videos": {}, "missing": {}})
    message = r"001\.json: made by another extractor \(encoders\.clip\.digest is 'b', not 'a'\); run the extract stage"
    with pytest.raises(InputError, match=message):
        extract.collect("mine", SimpleNamespace(clip_len=2.0))


def test_features_of_another_clip_length_than_the_params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_features(paths.features("mine"), {"000": SPEC, "text": SPEC})
    with pytest.raises(InputError, match=r"features per 2 s, but clip_len is 1; run the extract stage again"):
        load_features("mine", SimpleNamespace(clip_len=1.0))


def test_a_shard_without_its_features(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_features(paths.features("mine"), {"000": SPEC, "text": SPEC})
    (paths.features("mine") / "000.safetensors").unlink()
    with pytest.raises(InputError, match=r"000\.safetensors: is missing beside its sidecar"):
        load_features("mine", SimpleNamespace(clip_len=2.0))


def test_a_backbone_of_other_features():
    check_features(SPEC, SPEC)
    check_features(None, SPEC)  # published: nobody says what it was trained on
    with pytest.raises(InputError, match=r"trained on other features than these \(encoders\); run pretrain again"):
        check_features(SPEC, SPEC | {"encoders": {}})


def test_packages_of_two_datasets_hold_the_same_features_where_their_layouts_are_the_same():
    one, other = (SPEC | {"package": {"layout": "umt", "sha256": digest}} for digest in ("a", "b"))
    check_features(one, other)
    with pytest.raises(InputError, match=r"\(package\)"):
        check_features(one, SPEC | {"package": {"layout": "moment_detr", "sha256": "a"}})
