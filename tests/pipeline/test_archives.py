"""Archives that are what they should be, and those that are not."""

import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline import archives
from pipeline.archives import members, unpack
from read.errors import InputError

FILES = {"set/a.mp4": b"first" * 5000, "set/sub/b.mp4": b"second", "c.txt": b""}
TARS = {"t.tar": "w", "t.tar.gz": "w:gz", "t.tgz": "w:gz", "t.tar.bz2": "w:bz2", "t.tar.xz": "w:xz"}


def make_zip(path: Path, files=FILES, mode: int = 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            bundle.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path: Path, files=FILES, kind: bytes = tarfile.REGTYPE, how: str = "w") -> Path:
    with tarfile.open(path, how) as bundle:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            bundle.addfile(info, io.BytesIO(data))
    return path


def make(path: Path, files=FILES) -> Path:
    return make_zip(path, files) if path.suffix == ".zip" else make_tar(path, files, how=TARS[path.name])


def below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, tmp_path: Path) -> str:
    """The message, after a look at what was written."""
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError) as error:
        unpack(archive, tmp_path / "room" / "out")
    assert set(tmp_path.rglob("*")) - before <= {tmp_path / "room"}
    return str(error.value)


@pytest.mark.parametrize("name", ["t.zip", *TARS])
def test_files_come_out_as_they_went_in(tmp_path, name):
    archive = make(tmp_path / name, FILES | {"set/.DS_Store": b"x", "__MACOSX/._a.mp4": b"y"})
    assert {member.name: member.file.read() for member in members(archive)} == FILES
    unpack(archive, tmp_path / "out")
    assert below(tmp_path / "out") == FILES


def test_the_name_of_an_archive_does_not_matter(tmp_path):
    for make_any in (make_zip, make_tar):
        assert {member.name for member in members(make_any(tmp_path / "download"))} == set(FILES)


@pytest.mark.parametrize("make_any", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name",
    ["../out.mp4", "set/../../out.mp4", "/tmp/out.mp4", "..\\out.mp4", "C:\\out.mp4", "\\\\host\\share\\out.mp4"],
)
def test_paths_that_climb_out_are_refused(tmp_path, make_any, name):
    message = refused(make_any(tmp_path / "t", {"a.mp4": b"a", name: b"b"}), tmp_path)
    assert "leads out of the folder" in message
    assert repr(name) in message


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    if kind == tarfile.CONTTYPE:  # an old name of plain files
        assert len(list(members(make_tar(tmp_path / "t.tar", {"a": b""}, kind)))) == 1
        return
    assert "t.tar: a is a link or a device" in refused(make_tar(tmp_path / "t.tar", {"a": b""}, kind), tmp_path)


def test_links_in_a_zip_are_refused(tmp_path):
    archive = make_zip(tmp_path / "t.zip", {"a": b"/etc/passwd"}, stat.S_IFLNK | 0o777)
    assert "t.zip: a is a link or a device" in refused(archive, tmp_path)


@pytest.mark.parametrize("name", ["t.zip", *TARS])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_what_is_cut_short_is_never_taken_for_whole(tmp_path, name, share):
    files = {f"{letter}.bin": random.Random(letter).randbytes(9000) for letter in "abc"}
    archive = make(tmp_path / name, files)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    if share == 0.999 and name in ("t.tar", "t.tar.xz"):  # cut after all content, in what fills it up
        unpack(archive, tmp_path / "out")
        assert below(tmp_path / "out") == files
    else:
        assert str(archive) in refused(archive, tmp_path)


def test_a_tar_cut_between_two_files_is_not_whole(tmp_path):
    archive = make_tar(tmp_path / "t.tar", {"a": bytes(512), "b": bytes(512)})
    archive.write_bytes(archive.read_bytes()[:1024])
    assert "unexpected end of data" in refused(archive, tmp_path)
    archive = make_tar(tmp_path / "t.tar", {"a": bytes(512), "b": bytes(512)})
    data = bytearray(archive.read_bytes())
    data[1024:1030] = b"xxxxxx"  # the second header
    archive.write_bytes(data)
    assert "bad checksum" in refused(archive, tmp_path)


def test_a_changed_byte_in_a_zip_is_noticed(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as bundle:
        bundle.writestr("a.bin", bytes(1000))
    data = bytearray((tmp_path / "t.zip").read_bytes())
    data[500] ^= 1
    (tmp_path / "t.zip").write_bytes(data)
    assert "a.bin: damaged" in refused(tmp_path / "t.zip", tmp_path)


@pytest.mark.parametrize("data", [b"", b"no archive", b"<html>", bytes(2048)])
def test_other_files_are_no_archives(tmp_path, data):
    (tmp_path / "t").write_bytes(data)
    if data == bytes(2048):  # the end of a tar, with nothing before it
        assert list(members(tmp_path / "t")) == []
        return
    assert "damaged, cut short or no zip or tar" in refused(tmp_path / "t", tmp_path)
    with pytest.raises(InputError, match=r"nowhere: no such archive"):
        list(members(tmp_path / "nowhere"))


@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("a", "a/b"), ("a/b", "a")])
def test_a_name_twice_is_refused(tmp_path, names):
    with tarfile.open(tmp_path / "t.tar", "w") as bundle:
        for name in names:
            bundle.addfile(tarfile.TarInfo(name))
    assert f"holds {names[1].removeprefix('./')} twice" in refused(tmp_path / "t.tar", tmp_path)


def test_more_than_the_disk_has_is_refused_before_it_is_written(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "t.zip", {"zeros.bin": bytes(5_000_000)})
    assert archive.stat().st_size < 50_000
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 4_000_000}))
    assert "no room to unpack zeros.bin, of 0.0 GB, with 0.0 GB free" in refused(archive, tmp_path)


def test_a_zip_gives_no_more_than_it_states(tmp_path):
    archive = make_zip(tmp_path / "t.zip", {"zeros.bin": bytes(5_000_000)})
    data = archive.read_bytes()
    stated = (5_000_000).to_bytes(4, "little")
    assert data.count(stated) == 2
    archive.write_bytes(data.replace(stated, (10).to_bytes(4, "little")))
    assert "zeros.bin: damaged" in refused(archive, tmp_path)
