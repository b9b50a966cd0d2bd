"""Videos of a shard in one file."""

import os
import shutil

import pytest

from pipeline.packed import pack, unpacked
from pipeline.stages.download import pack_shard, write_manifest
from read.errors import InputError
from read.files import read_json, write_json
from tests.pipeline.datasets import make_card, options, row


@pytest.fixture
def folder(tmp_path):
    """A shard of two videos of which one is made of pieces, as the download stage leaves it."""
    room = tmp_path / "raw" / "mine"
    for name in ("videos/a.mp4", "videos/b.webm", "videos/c.mp4", "pieces/1.mp4", "pieces/2.mp4"):
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).write_text(name)
    pieces = [["1.mp4", 2.0], ["2.mp4", 4.0], ["1.mp4", 2.0]]
    listed = {
        vid: {"file": file, "bytes": len(f"videos/{file}"), "sha256": vid}
        for vid, file in {"a": "a.mp4", "b": "b.webm"}.items()
    }
    listed["a"]["pieces"] = pieces
    write_json(room / "shards/000.json", {"videos": listed, "missing": {"d": "gone"}})
    return room


def test_what_is_packed_is_unpacked_for_as_long_as_it_is_used(folder, tmp_path):
    tar = folder / "shards/000.tar"
    pack_shard(folder, "000", tar)
    assert sorted(path.name for path in (folder / "videos").iterdir()) == ["c.mp4"]  # of another shard
    with unpacked([tar], tmp_path / "node") as room:
        found = {path.relative_to(room).as_posix(): path.read_text() for path in room.rglob("*.*") if path.is_file()}
        assert found == {name: name for name in ("videos/a.mp4", "videos/b.webm", "pieces/1.mp4", "pieces/2.mp4")}
    assert not list((tmp_path / "node").iterdir())
    with unpacked([], folder) as room:
        assert room == folder


def test_equal_files_are_packed_to_equal_bytes(folder, tmp_path):
    pack(folder, ["videos/a.mp4", "pieces/1.mp4"], tmp_path / "one.tar")
    os.utime(folder / "videos/a.mp4", (1, 1))
    (folder / "pieces/1.mp4").chmod(0o600)
    pack(folder, ["pieces/1.mp4", "videos/a.mp4", "pieces/1.mp4"], tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_manifest_of_packed_videos_is_that_of_videos_that_lie_there(folder, tmp_path):
    rows = [row(number, vid) for number, vid in enumerate("ab")]
    card = make_card(tmp_path, {"source": "url", "url": "http://127.0.0.1/{vid}.mp4"}, rows)
    (folder / "annotations.jsonl").write_text("".join(rows))
    (folder / "summaries.jsonl").touch()
    settings = options(shards=1)
    write_manifest(card, settings, tmp_path / "raw")
    there = read_json(folder / "manifest.json")
    assert there["videos"].keys() == {"a", "b"}
    shutil.rmtree(folder / "videos")
    (folder / "shards/000.tar").touch()
    room = folder / ".at-work.part"
    room.mkdir()
    write_manifest(card, settings, tmp_path / "raw", packed=True)
    assert read_json(folder / "manifest.json") == there
    (folder / "annotations.jsonl").write_text("".join([*rows, row(2, "d")]))
    with pytest.raises(InputError, match=r"1 of 3 videos are missing.*--forcerun download_shard.*\n  d: gone"):
        write_manifest(card, settings, tmp_path / "raw", packed=True)  # the lists stay where they are stored
    assert room.is_dir() and (folder / "shards/000.tar").is_file()  # another job's, and what it works on
