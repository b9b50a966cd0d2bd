"""Videos in an archive: downloaded once, unpacked once, whatever becomes of the jobs."""

import io
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from pipeline.annotations import fetch_annotations
from pipeline.stages.download import fetch_shard, write_manifest
from read.errors import InputError
from read.files import read_json, sha256_of
from tests.pipeline.datasets import download, make_card, options, servers, stored

FILES = {"set/a.mp4": b"content of a" * 99, "set/more/b.MKV": b"content of b" * 99, "set/readme.txt": b"hello"}


@pytest.fixture
def serve():
    with servers() as start:
        yield start


def make_tar(folder: Path, files=FILES) -> Path:
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "set.tar.gz", "w:gz") as bundle:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            bundle.addfile(info, io.BytesIO(data))
    return folder / "set.tar.gz"


def card_of(tmp_path, url, vids, **archive):
    return make_card(tmp_path, {"source": "archive", "archive": {"url": url} | archive}, vids)


def rooms(tmp_path) -> list[Path]:
    """What is left of the work."""
    return [path for path in (tmp_path / "raw" / "mine").iterdir() if path.suffix == ".part"]


def test_videos_are_found_by_name_wherever_they_lie(tmp_path, serve):
    archive = make_tar(tmp_path / "site")
    address, asked = serve(archive.parent)
    card = card_of(tmp_path, f"{address}/set.tar.gz", ["a", "b", "c"], sha256=sha256_of(archive))
    manifest = download(card, tmp_path, options(tolerance=0.4, shards=3))
    assert asked == ["/set.tar.gz"]
    assert stored(tmp_path) == {"a.mp4", "b.mkv"}
    assert (tmp_path / "raw/mine/videos/b.mkv").read_bytes() == FILES["set/more/b.MKV"]
    assert manifest["missing"] == {"c": "no video named c in set.tar.gz"}
    assert rooms(tmp_path) == []
    download(card_of(tmp_path, f"{address}/set.tar.gz", ["a", "b"], sha256=sha256_of(archive)), tmp_path)
    assert len(asked) == 1  # what is there needs no archive
    changed = make_tar(tmp_path / "site", FILES | {"set/a.mp4": b"another"})
    download(card_of(tmp_path, f"{address}/set.tar.gz", ["a", "b"], sha256=sha256_of(changed)), tmp_path)
    assert (tmp_path / "raw/mine/videos/a.mp4").read_bytes() == b"another"
    assert len(asked) == 2


def test_a_zip_without_a_digest_from_a_mirror_stays_there(tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    with zipfile.ZipFile(mirror / "set of a.zip", "w") as bundle:
        bundle.writestr("a.mp4", b"content")
    card = card_of(tmp_path, "http://127.0.0.1:9/set%20of%20a.zip?download=1", ["a"])
    download(card, tmp_path, options(mirror=str(mirror)))
    assert stored(tmp_path) == {"a.mp4"}
    assert (mirror / "set of a.zip").is_file()


def test_an_archive_that_cannot_be_had_is_asked_for_once_a_job(tmp_path, serve):
    (tmp_path / "site").mkdir()
    address, asked = serve(tmp_path / "site")
    card = card_of(tmp_path, f"{address}/set.zip", ["a", "b", "c", "d"])
    with pytest.raises(InputError, match=r"4 of 4 videos are missing.*\n  a: http.*/set.zip: HTTP 404"):
        download(card, tmp_path, options(shards=1))
    assert len(asked) == 1


def test_a_page_in_the_place_of_a_pinned_archive_is_told(tmp_path, serve):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "set.zip").write_text("<!DOCTYPE html>Sign in")
    address, _ = serve(tmp_path / "site")
    card = card_of(tmp_path, f"{address}/set.zip", ["a"], sha256="0" * 64)
    with pytest.raises(InputError, match=r"set\.zip: a web page instead of the file; its sha256 is"):
        download(card, tmp_path)


@pytest.mark.parametrize("harm", ["climbs", "link", "cut", "other"])
def test_unsafe_and_damaged_archives_end_the_job_with_their_name(tmp_path, serve, harm):
    archive = make_tar(tmp_path / "site", {"../../evil.mp4": b"x"} if harm == "climbs" else FILES)
    if harm == "link":
        with tarfile.open(archive, "w:gz") as bundle:
            info = tarfile.TarInfo("a.mp4")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            bundle.addfile(info)
    if harm == "cut":
        archive.write_bytes(archive.read_bytes()[:-20])
    if harm == "other":
        archive.write_bytes(b"something else")
    address, _ = serve(archive.parent)
    card = card_of(tmp_path, f"{address}/set.tar.gz", ["a", "b"])
    with pytest.raises(InputError, match=r"set\.tar\.gz: "):
        download(card, tmp_path)
    assert not list(tmp_path.rglob("evil.mp4"))
    assert not (tmp_path / "raw/mine/manifest.json").exists()
    if harm in ("cut", "other"):  # it is asked for again
        make_tar(tmp_path / "site")
        download(card, tmp_path)
        assert stored(tmp_path) == {"a.mp4", "b.mkv"}


def test_jobs_of_one_archive_ask_for_it_once_and_a_killed_one_leaves_nothing_in_the_way(tmp_path, serve):
    archive = make_tar(tmp_path / "site", {f"{letter}.mp4": letter.encode() * 50 for letter in "abcdefgh"})
    address, asked = serve(archive.parent)
    card = card_of(tmp_path, f"{address}/set.tar.gz", list("abcdefgh"))
    half = tmp_path / "raw/mine/archive.part/.0123.part/0123"  # a half-unpacked copy, as a killed job leaves it
    half.mkdir(parents=True)
    (half / "a.mp4").write_bytes(b"half")
    settings, raw = options(shards=3), tmp_path / "raw"
    fetch_annotations(card, settings, 2.0, raw)
    jobs = [threading.Thread(target=fetch_shard, args=(card, f"00{n}", settings, raw)) for n in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    write_manifest(card, settings, raw)
    assert asked == ["/set.tar.gz"]
    assert len(read_json(raw / "mine" / "manifest.json")["videos"]) == 8
    assert (raw / "mine/videos/a.mp4").read_bytes() == b"a" * 50
    assert rooms(tmp_path) == []


def test_two_of_one_name_are_told_apart(tmp_path, serve):
    archive = make_tar(tmp_path / "site", {"x/a.mp4": b"1", "y/a.mp4": b"2", "x/b.mp4": b"3"})
    address, _ = serve(archive.parent)
    card = card_of(tmp_path, f"{address}/set.tar.gz", ["a", "b"])
    missing = download(card, tmp_path, options(tolerance=0.5))["missing"]
    assert missing == {"a": "set.tar.gz holds several: x/a.mp4, y/a.mp4"}
