"""The stage as a whole: annotations, shards and the manifest, on folders, servers and the montage."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.annotations import fetch_annotations
from pipeline.card import load_card
from pipeline.sources.shards import shard_digests, shard_ids, shard_of
from pipeline.stages.download import fetch_shard, write_manifest
from read.data import load_annotations, load_summaries
from read.encoders.frames import iter_clips, write_video
from read.encoders.program import ffmpeg_binary
from read.errors import InputError
from read.files import read_json, read_jsonl, sha256_of, write_jsonl
from tests.pipeline.datasets import download, make_card, make_files, options, row, servers, stored

ROOT = Path(__file__).parents[2]


@pytest.fixture
def serve():
    with servers() as start:
        yield start


LOCAL = {"source": "local", "folder": "../../videos"}


def subtitles(text: str) -> str:
    """SubRip with something said from 1 s to 3 s, and a word more up to 9 s."""
    return f"1\n00:00:01,000 --> 00:00:03,000\n{text}\n\n2\n00:00:08,000 --> 00:00:09,000\nthere\n"


def test_a_folder_of_videos_is_copied_and_listed(tmp_path):
    folder = make_files(tmp_path / "videos", ["a.mp4", "b.MKV", "c.d.avi", "a.srt", "other.mp4"])
    manifest = download(make_card(tmp_path, {"source": "local", "folder": str(folder)}, ["a", "b", "c.d"]), tmp_path)
    assert stored(tmp_path) == {"a.mp4", "b.mkv", "c.d.avi"}
    entry = manifest["videos"]["a"]
    assert (entry["file"], entry["bytes"], entry["sha256"]) == (
        "a.mp4",
        (folder / "a.mp4").stat().st_size,
        hashlib.sha256((folder / "a.mp4").read_bytes()).hexdigest(),
    )
    assert manifest["missing"] == {}
    assert read_jsonl(tmp_path / "raw" / "mine" / "segments.jsonl") == []


def test_real_footage_is_taken_as_it_is(footage, tmp_path):
    catalog = tmp_path / "catalog" / "mine"
    catalog.mkdir(parents=True)
    videos = {"source": "local", "folder": str(footage / "videos")}
    card = {"title": "t", "licence": "l", "annotations": str(footage / "annotations.jsonl"), "videos": videos}
    (catalog / "card.yaml").write_text(yaml.safe_dump(card))
    manifest = download(load_card("mine", tmp_path / "catalog"), tmp_path)
    assert len(manifest["videos"]) == 7
    for entry in manifest["videos"].values():
        copy = tmp_path / "raw" / "mine" / "videos" / entry["file"]
        assert copy.read_bytes() == (footage / "videos" / entry["file"]).read_bytes()
        assert os.access(copy, os.W_OK)


def test_missing_videos_are_listed_with_reasons_up_to_the_tolerance(tmp_path):
    folder = make_files(tmp_path / "videos", ["a.mp4", "c.mp4", "c.avi", "d.mp4", "e.doc"])
    card = make_card(tmp_path, {"source": "local", "folder": str(folder)}, ["a", "b", "c", "d", "e"])
    manifest = download(card, tmp_path, options(tolerance=0.6))
    assert manifest["missing"] == {
        "b": f"no video named b in {folder}",
        "c": f"{folder} holds several: c.avi, c.mp4",
        "e": f"no video named e in {folder}",
    }
    table = list(csv.reader((tmp_path / "raw" / "mine" / "missing.csv").open(newline="")))
    assert table == [["vid", "reason"], *([vid, reason] for vid, reason in manifest["missing"].items())]
    with pytest.raises(InputError) as error:
        download(card, tmp_path, options(tolerance=0.5))
    assert "3 of 5 videos are missing (60.0%), more than download.tolerance (50.0%)" in str(error.value)
    assert f"\n  b: no video named b in {folder}\n" in str(error.value)


def test_what_was_missing_is_asked_for_again(tmp_path):
    folder = make_files(tmp_path / "videos", ["a.mp4"])
    card = make_card(tmp_path, {"source": "local", "folder": str(folder)}, ["a", "b"])
    with pytest.raises(InputError, match="1 of 2 videos"):
        download(card, tmp_path)
    shards = tmp_path / "raw" / "mine" / "shards"
    assert not (shards / f"{shard_of('b', 2)}.json").exists()
    assert "a.mp4" in stored(tmp_path)
    make_files(folder, ["b.mp4"])
    assert download(card, tmp_path)["missing"] == {}


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder of videos"):
        download(make_card(tmp_path, {"source": "local", "folder": "nowhere"}, ["a"]), tmp_path)


def test_mistakes_in_annotations_name_the_persons_own_file(tmp_path):
    card = make_card(tmp_path, {"source": "local", "folder": "."}, ["a"])
    card.path(card.queries).write_text(row(1, "a") + row(1, "b"))
    with pytest.raises(InputError, match=rf"{card.path(card.queries)}:2: qid 1 stands already on line 1"):
        fetch_annotations(card, options(), 2.0, tmp_path / "raw")
    assert not (tmp_path / "raw" / "mine" / "annotations.jsonl").exists()


def test_videos_that_are_there_are_kept_and_damaged_or_exchanged_ones_fetched_again(tmp_path, serve):
    names = [f"{letter}.mp4" for letter in "abcdef"]
    address, asked = serve(make_files(tmp_path / "videos", names))
    card = make_card(tmp_path, {"source": "url", "url": address + "/{vid}.mp4"}, list("abcdef"))
    first = download(card, tmp_path)
    assert len(asked) == 6
    assert download(card, tmp_path) == first
    assert len(asked) == 6
    videos = tmp_path / "raw" / "mine" / "videos"
    (videos / "a.mp4").write_bytes((videos / "a.mp4").read_bytes()[:-1] + b"x")
    (videos / "b.mp4").unlink()
    assert download(card, tmp_path) == first
    assert sorted(asked[6:]) == ["/a.mp4", "/b.mp4"]
    # another address: another recipe
    card = make_card(tmp_path, {"source": "url", "url": address + "/{vid}.mp4?v=2"}, list("abcdef"))
    download(card, tmp_path)
    assert len(asked) == 14


def test_a_new_video_touches_its_shard_only_and_an_old_one_goes(tmp_path, serve):
    address, asked = serve(make_files(tmp_path / "videos", [f"{letter}.mp4" for letter in "abcde"]))
    videos = {"source": "url", "url": address + "/{vid}.mp4"}
    download(make_card(tmp_path, videos, list("abcd")), tmp_path)
    assert len(asked) == 4
    manifest = download(make_card(tmp_path, videos, list("bcde")), tmp_path)
    assert asked[4:] == ["/e.mp4"]
    assert sorted(manifest["videos"]) == list("bcde")
    assert stored(tmp_path) == {f"{letter}.mp4" for letter in "bcde"}


@pytest.mark.parametrize(("before", "after", "killed"), [(4, 2, False), (4, 2, True), (2, 4, False)])
def test_another_number_of_shards_asks_for_nothing_again(tmp_path, serve, before, after, killed):
    address, asked = serve(make_files(tmp_path / "videos", [f"{letter}.mp4" for letter in "abcde"]))
    card = make_card(tmp_path, {"source": "url", "url": address + "/{vid}.mp4"}, list("abcde"))
    download(card, tmp_path, options(shards=before))
    if killed:  # before the first manifest
        (tmp_path / "raw" / "mine" / "manifest.json").unlink()
    download(card, tmp_path, options(shards=after))
    assert len(asked) == 5
    names = {path.name for path in (tmp_path / "raw" / "mine" / "shards").iterdir()}
    assert names == {f"{shard}.json" for shard in shard_ids(after)}


def test_mirrors_come_first_and_digests_are_checked(tmp_path, serve):
    address, asked = serve(make_files(tmp_path / "videos", ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]))
    mirror = make_files(tmp_path / "mirror", ["a.mp4"])
    make_files(mirror / "mine", ["b.mp4"])
    (mirror / "c.mp4").write_bytes(b"damaged")
    table = [f"{sha256_of(tmp_path / 'videos' / name)}  videos/{name}\n" for name in ("a.mp4", "b.mp4", "c.mp4")]
    videos = {"source": "url", "url": address + "/{vid}.mp4", "sha256": "SHA256SUMS"}
    card = make_card(tmp_path, videos, ["a", "b", "c", "d"])
    (card.folder / "SHA256SUMS").write_text("".join([*table, f"{'0' * 64} *d.mp4\n"]))
    manifest = download(card, tmp_path, options(mirror=str(mirror), tolerance=0.3))
    assert sorted(asked) == ["/c.mp4", "/d.mp4"]
    assert sorted(manifest["videos"]) == ["a", "b", "c"]
    assert manifest["missing"]["d"].endswith(f"not {'0' * 64}; it was deleted")
    assert stored(tmp_path) == {"a.mp4", "b.mp4", "c.mp4"}
    with pytest.raises(InputError, match=r"machine\.mirror: .*nowhere is no folder"):
        download(card, tmp_path, options(mirror="nowhere"))


def test_annotations_are_downloaded_by_their_digest_or_taken_from_a_mirror(tmp_path, serve):
    site = make_files(tmp_path / "site", ["a.mp4"])
    (site / "queries.jsonl").write_text(row(1, "a"))
    address, asked = serve(site)
    remote = {"url": address + "/queries.jsonl", "sha256": sha256_of(site / "queries.jsonl")}
    videos = {"source": "url", "url": address + "/{vid}.mp4"}
    download(make_card(tmp_path, videos, [], annotations=remote), tmp_path)
    assert asked == ["/queries.jsonl", "/a.mp4"]
    assert len(read_jsonl(tmp_path / "raw" / "mine" / "annotations.jsonl")) == 1
    download(make_card(tmp_path, videos, [], annotations=remote), tmp_path, options(mirror=str(site)))
    assert len(asked) == 2
    wrong = make_card(tmp_path, videos, [], annotations=remote | {"sha256": "0" * 64})
    with pytest.raises(
        InputError, match=r"annotations of mine cannot be had: .*queries\.jsonl has another sha256; http.*deleted"
    ):
        download(wrong, tmp_path, options(mirror=str(site)))


def test_subtitles_become_annotations(tmp_path):
    said = {"vid": "a", "duration": 30.0, "start": 4.0, "end": 7.5, "text": "now we cross the bridge"}
    make_files(tmp_path / "videos", ["a.mp4"])
    videos = {"source": "local", "folder": "../../videos"}
    card = make_card(tmp_path, videos, [], annotations=None, subtitles="captions.jsonl")
    card.path(card.queries).write_text(json.dumps(said) + "\n")
    assert sorted(download(card, tmp_path)["videos"]) == ["a"]
    (annotation,) = load_annotations(tmp_path / "raw" / "mine" / "annotations.jsonl", 2.0)
    assert (annotation.query, annotation.windows) == (said["text"], ((4.0, 7.5),))
    card.path(card.queries).write_text(json.dumps(said | {"end": 3.0}) + "\n")
    with pytest.raises(InputError, match=rf"{card.path(card.queries)}:1: caption \[4, 3\] ends before it starts"):
        fetch_annotations(card, options(), 2.0, tmp_path / "raw")


def test_a_folder_of_subtitles_becomes_annotations(tmp_path):
    make_files(tmp_path / "videos", ["a.mp4"])
    card = make_card(tmp_path, LOCAL, [], annotations=None, subtitles="said")
    card.path(card.queries).mkdir()
    (card.path(card.queries) / "a.srt").write_text(subtitles("now we cross the bridge"))
    assert sorted(download(card, tmp_path)["videos"]) == ["a"]
    (annotation,) = load_annotations(tmp_path / "raw" / "mine" / "annotations.jsonl", 2.0)
    assert (annotation.query, annotation.windows) == ("now we cross the bridge", ((1.0, 3.0),))
    assert annotation.duration == float("inf")  # the file of the video tells


def test_summaries_beside_annotations_with_transcripts_filled_in(tmp_path, capsys):
    make_files(tmp_path / "videos", ["a.mp4", "b.mp4", "c.mp4", "d.mp4"])
    card = make_card(tmp_path, LOCAL, ["a", "b"], summaries="summaries.jsonl", transcripts="said")
    told = {"summary": "a walk"}
    rows = [*({"vid": vid} | told for vid in "bcd"), {"vid": "a", "transcript": "hi"} | told]
    write_jsonl(card.folder / "summaries.jsonl", rows)
    (card.folder / "said").mkdir()
    for vid in "acd":
        (card.folder / "said" / f"{vid}.srt").write_text(subtitles(f"[Music] this is {vid}"))
    assert sorted(download(card, tmp_path)["videos"]) == ["a", "b", "c", "d"]
    found = load_summaries(tmp_path / "raw" / "mine" / "summaries.jsonl")
    assert [(s.vid, s.transcript) for s in found] == [
        ("b", ""), ("c", "this is c there"), ("d", "this is d there"), ("a", "hi"),
    ]  # fmt: skip
    assert "1 of 4 videos have no transcript: b" in capsys.readouterr().out
    assert len(load_annotations(tmp_path / "raw" / "mine" / "annotations.jsonl", 2.0)) == 2


def test_real_summaries_alone(footage, tmp_path):
    videos = {"source": "local", "folder": str(footage / "videos")}
    card = make_card(tmp_path, videos, [], annotations=None, summaries=str(footage / "summaries.jsonl"))
    assert sorted(download(card, tmp_path)["videos"]) == ["bikes", "box", "cup", "hello"]
    raw = tmp_path / "raw" / "mine"
    assert load_summaries(raw / "summaries.jsonl") == load_summaries(footage / "summaries.jsonl")
    with pytest.raises(InputError, match=r"annotations\.jsonl: holds no annotation"):
        load_annotations(raw / "annotations.jsonl", 2.0)


def test_summaries_are_downloaded_by_their_digest(tmp_path, serve):
    site = make_files(tmp_path / "site", ["a.mp4"])
    write_jsonl(site / "s.jsonl", [{"vid": "a", "transcript": "hi", "summary": "a walk"}])
    address, asked = serve(site)
    remote = {"url": address + "/s.jsonl", "sha256": sha256_of(site / "s.jsonl")}
    videos = {"source": "url", "url": address + "/{vid}.mp4"}
    manifest = download(make_card(tmp_path, videos, [], annotations=None, summaries=remote), tmp_path)
    assert asked == ["/s.jsonl", "/a.mp4"]
    assert sorted(manifest["videos"]) == ["a"]
    assert {path.name for path in (tmp_path / "raw" / "mine").iterdir()} == {
        "annotations.jsonl", "segments.jsonl", "summaries.jsonl", "pieces.jsonl", "shards", "videos", "manifest.json",
        "missing.csv", "dataset.json",
    }  # fmt: skip
    wrong = make_card(tmp_path, videos, [], annotations=None, summaries=remote | {"sha256": "0" * 64})
    with pytest.raises(InputError, match=r"the summaries of mine cannot be had"):
        download(wrong, tmp_path)


def test_mistakes_in_summaries_and_subtitles_name_the_persons_own_files(tmp_path):
    card = make_card(tmp_path, LOCAL, ["a"], summaries="summaries.jsonl", transcripts="said")
    write_jsonl(card.folder / "summaries.jsonl", [{"vid": "a", "summary": ""}])
    with pytest.raises(InputError, match=rf"^{card.folder}/summaries\.jsonl:1: video a: summary is empty"):
        fetch_annotations(card, options(), 2.0, tmp_path / "raw")
    write_jsonl(card.folder / "summaries.jsonl", [{"vid": "a", "summary": "a walk"}])
    (card.folder / "said").mkdir()
    (card.folder / "said" / "a.vtt").write_text("WEBVTT\n\n1:00 --> 2:00\nhi\n")
    with pytest.raises(InputError, match=rf"^{card.folder}/said/a\.vtt:3: '1:00 --> 2:00' is no time of a caption"):
        fetch_annotations(card, options(), 2.0, tmp_path / "raw")


@pytest.mark.parametrize("page", [False, True])
def test_youtube_by_yt_dlp_from_a_page_or_a_file(tmp_path, serve, page):
    site = tmp_path / "site"
    site.mkdir()
    write_video(site / "clip.mp4", np.zeros((8, 32, 32, 3), np.uint8), 8)
    (site / "clip.html").write_text('<html><title>A clip</title><video src="clip.mp4"></video></html>')
    address, _ = serve(site)
    template = address + ("/{vid}.html" if page else "/{vid}.mp4")
    card = make_card(tmp_path, {"source": "youtube", "url": template}, ["clip", "gone"])
    manifest = download(card, tmp_path, options(tolerance=0.5))
    assert (tmp_path / "raw/mine/videos/clip.mp4").read_bytes() == (site / "clip.mp4").read_bytes()
    assert "HTTP Error 404" in manifest["missing"]["gone"]
    assert "\n" not in manifest["missing"]["gone"]
    assert stored(tmp_path) == {"clip.mp4"}


def test_parts_of_videos_by_their_ids(tmp_path, serve):
    (tmp_path / "site").mkdir()
    write_video(tmp_path / "site" / "abc-_efghij.mp4", np.zeros((48, 32, 32, 3), np.uint8), 8)
    address, _ = serve(tmp_path / "site")
    videos = {"source": "youtube", "url": address + "/{vid}.mp4", "ranges": True}
    vid = "abc-_efghij_1.0_4.0"
    manifest = download(make_card(tmp_path, videos, [vid]), tmp_path)
    assert stored(tmp_path) == {f"{vid}.mp4"}
    assert sum(1 for _ in iter_clips(tmp_path / "raw/mine/videos" / f"{vid}.mp4", 2.0, 0.5, 16)) == 6
    assert manifest["videos"][vid]["recipe"].endswith(" 1.0-4.0")


def test_two_jobs_for_one_shard_ask_once(tmp_path, serve):
    address, asked = serve(make_files(tmp_path / "videos", ["a.mp4", "b.mp4", "c.mp4"]))
    card = make_card(tmp_path, {"source": "url", "url": address + "/{vid}.mp4"}, ["a", "b", "c"])
    settings = options(shards=1)
    fetch_annotations(card, settings, 2.0, tmp_path / "raw")
    jobs = [threading.Thread(target=fetch_shard, args=(card, "000", settings, tmp_path / "raw")) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert sorted(asked) == ["/a.mp4", "/b.mp4", "/c.mp4"]
    write_manifest(card, settings, tmp_path / "raw")


def test_a_long_reason_becomes_one_short_line(tmp_path, serve):
    address, _ = serve(make_files(tmp_path / "videos", []))
    url = f"{address}/{'x' * 400}/{{vid}}.mp4"
    card = make_card(tmp_path, {"source": "url", "url": url}, ["a"])
    reason = download(card, tmp_path, options(tolerance=1.0))["missing"]["a"]
    assert len(reason) < 320
    assert reason.startswith("http://127.0.0.1")
    assert reason.endswith("HTTP 404 File not found")


MANUAL = {"source": "manual", "folder": "../../videos"}
INSTRUCTIONS = "Ask its authors for the videos, see their page."


def test_videos_that_a_person_brings(tmp_path):
    card = make_card(tmp_path, MANUAL, ["a", "b"], instructions=INSTRUCTIONS)
    with pytest.raises(InputError) as error:  # the folder need not be there yet
        download(card, tmp_path)
    message = str(error.value)
    assert "2 of 2 videos are missing" in message
    assert f"put them into {card.folder}/../../videos, each named by its id, such as a.mp4" in message
    assert message.endswith(INSTRUCTIONS)
    make_files(tmp_path / "videos", ["a.mp4"])
    mirror = make_files(tmp_path / "mirror", ["b.mkv"])
    manifest = download(card, tmp_path, options(mirror=str(mirror)))
    assert (manifest["missing"], stored(tmp_path)) == ({}, {"a.mp4", "b.mkv"})


MONTAGE = {"source": "montage", "domain": "source", "train": 6, "test": 0, "seed": 0}


def command(tmp_path: Path, *arguments: str, shards: int = 1) -> subprocess.Popen:
    """The stage's command line, in `tmp_path` as a project."""
    (tmp_path / "data").mkdir(exist_ok=True)
    if not (tmp_path / "data" / "catalog").exists():
        (tmp_path / "data" / "catalog").symlink_to(tmp_path / "catalog")
    settings = {"clip_len": 2.0, "features": "videos"}
    how = [] if arguments[0] == "annotations" else ["--shards", str(shards)]
    words = [*how, "--settings", json.dumps(settings)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "READ_TOLERANCE": "0"}
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.stages.download", *arguments, *words],
        cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_a_killed_job_costs_the_video_it_was_at(tmp_path, monkeypatch):
    videos = tmp_path / "data" / "raw" / "mine" / "videos"
    stops = tmp_path / "ffmpeg"  # at the fourth video, until it is killed
    count = f"$(ls '{videos}' 2>/dev/null | grep -c 'mp4$')"
    stops.write_text(
        f"#!/bin/sh\n[ {count} -lt 3 ] || [ -e '{tmp_path}/killed' ] || exec sleep 600\n"
        f"exec '{ffmpeg_binary()}' \"$@\"\n"
    )
    stops.chmod(0o755)
    monkeypatch.setenv("READ_FFMPEG", str(stops))
    make_card(tmp_path, MONTAGE, [], annotations=None)
    assert command(tmp_path, "annotations", "mine").wait() == 0
    job = command(tmp_path, "shard", "mine", "000")
    while job.poll() is None and len(list(videos.glob("*.mp4"))) < 3:
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    (tmp_path / "killed").touch()
    done = {path: path.stat().st_mtime_ns for path in videos.glob("*.mp4")}
    assert not (videos.parent / "shards" / "000.json").exists()
    assert len(done) == 3
    last = max(done, key=done.get)
    assert command(tmp_path, "shard", "mine", "000").wait() == 0
    assert command(tmp_path, "manifest", "mine").wait() == 0
    assert all(path.stat().st_mtime_ns == done[path] for path in done if path != last)
    assert len(read_json(videos.parent / "manifest.json")["videos"]) == 6
    assert {path.name for path in videos.parent.iterdir()} == {
        "annotations.jsonl", "segments.jsonl", "summaries.jsonl", "pieces.jsonl", "shards", "videos", "manifest.json",
        "missing.csv", "dataset.json",
    }  # fmt: skip
    assert all(path.suffix == ".mp4" for path in videos.iterdir())


def test_bad_input_on_the_command_line_is_one_message(tmp_path):
    make_card(tmp_path, MONTAGE, [], annotations=None)
    job = command(tmp_path, "annotations", "mime")
    message = job.communicate()[1]
    assert job.returncode == 1
    assert message.startswith("error: dataset 'mime' is none of mine; did you mean mine?")
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("mount", "reason"), [("ro", "the file system is read-only"), ("size=64k", "no space left on the device")]
)
def test_a_full_or_read_only_disk_is_one_message(tmp_path, mount, reason):
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no private mounts on this machine")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(bytes(100_000))
    make_card(tmp_path, {"source": "local", "folder": str(tmp_path / "videos")}, ["a"])
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    (tmp_path / "data" / "catalog").symlink_to(tmp_path / "catalog")
    settings = json.dumps({"clip_len": 2.0, "features": "videos"})
    python = f"{sys.executable} -m pipeline.stages.download"
    script = (
        f"mount -t tmpfs -o {mount} tmpfs {raw} && "
        f"{python} annotations mine --settings '{settings}' && "
        f"{python} shard mine 000 --shards 1 --settings '{settings}'"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    job = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert job.returncode == 1
    assert job.stderr.startswith("error: ")
    assert reason in job.stderr
    assert "Traceback" not in job.stderr


def test_names_that_a_system_took_apart_and_links_to_nothing(tmp_path):
    folder = make_files(tmp_path / "videos", ["cafe\u0301.mp4"])
    (folder / "walk.mp4").symlink_to("gone.mp4")
    card = make_card(tmp_path, {"source": "local", "folder": str(folder)}, ["café", "walk"])
    manifest = download(card, tmp_path, options(tolerance=0.5))
    assert set(manifest["videos"]) == {"café"} and stored(tmp_path) == {"café.mp4"}
    assert manifest["missing"]["walk"].endswith("walk.mp4 is a link to gone.mp4, where there is no file")


def test_a_byte_order_mark_in_the_annotations(tmp_path):
    folder = make_files(tmp_path / "videos", ["a.mp4"])
    card = make_card(tmp_path, {"source": "local", "folder": str(folder)}, ["a"])
    path = tmp_path / "catalog" / "mine" / "annotations.jsonl"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert set(download(card, tmp_path)["videos"]) == {"a"}
    assert shard_digests("mine", 2, tmp_path / "catalog")
