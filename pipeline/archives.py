"""Zip and tar archives made by others, read or unpacked so that they write nowhere else and fill no disk."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from read.errors import InputError
from read.files import atomic_path

ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # how a zip begins, with files and without
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, LZMAError, NotImplementedError)
ADVICE = "unpack it yourself if you trust it, and name the folder instead"


class DamagedError(InputError):
    """An archive is not as it was made: another download may be."""


class Member(NamedTuple):
    """A file of an archive: its path inside, its size in bytes, its content, open until the next one is asked for."""

    name: str
    size: int
    file: IO[bytes]


def members(archive: Path) -> Iterator[Member]:
    """The files of an archive, one after the other, in one pass; folders and hidden files are passed over.

    Raises:
        DamagedError: it is neither zip nor tar, damaged or cut short.
        InputError: it is absent, or holds what no archive of data needs: a path that leads out of its folder, a name
            twice, a link, a device, a file under a password.
    """
    if not archive.is_file():
        raise InputError(f"{archive}: no such archive")
    with archive.open("rb") as file:
        read = _zip_members if file.read(4) in ZIP else _tar_members
    taken: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    with _damage(archive):
        for member in read(archive):
            path = PurePosixPath(member.name)
            if path in taken or path in folders or not taken.isdisjoint(path.parents):
                raise InputError(f"{archive}: holds {path} twice")
            taken.add(path)
            folders |= {*path.parents}
            if not any(part.startswith(".") for part in path.parts):
                yield member._replace(name=path.as_posix())


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder that does not exist yet, whole or not at all.

    Raises:
        InputError: as `members` and `copy_content`.
    """
    with atomic_path(folder) as draft:
        draft.mkdir()
        for member in members(archive):
            target = draft / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_content(member, archive, target)


def copy_content(member: Member, archive: Path, target: Path, file: IO[bytes] | None = None) -> None:
    """Write a member's content to a new file at `target`, or into `file`, which is open and lies there.

    Raises:
        DamagedError: the content is damaged or cut short.
        InputError: it is, by the size that the archive states and that cannot be exceeded, more than the disk has room
            for.
    """
    free = shutil.disk_usage(target.parent).free
    if member.size > free:
        size = f"{member.size / 1e9:.1f} GB, with {free / 1e9:.1f} GB free"
        raise InputError(f"{archive}: no room to unpack {member.name}, of {size}")
    with _damage(archive, member.name), nullcontext(file) if file else target.open("xb") as out:
        shutil.copyfileobj(member.file, out, 1 << 20)


@contextmanager
def _damage(archive: Path, name: str = "") -> Iterator[None]:
    """Turn what the libraries raise for broken archives into a DamagedError."""
    try:
        yield
    except DAMAGE as error:
        place = f"{archive}: {name}" if name else f"{archive}"
        raise DamagedError(f"{place}: damaged, cut short or no zip or tar ({error or type(error).__name__})") from None


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist():
            _check_name(archive, info.filename)
            if info.is_dir():
                continue
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise InputError(f"{archive}: {info.filename} is a link or a device; {ADVICE}")
            if info.flag_bits & 1:
                raise InputError(f"{archive}: {info.filename} is under a password; {ADVICE}")
            with bundle.open(info) as file:
                yield Member(info.filename, info.file_size, file)


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive, tarinfo=_TarInfo) as bundle:
        for info in bundle:
            _check_name(archive, info.name)
            if info.isdir():
                continue
            if not info.isreg():
                raise InputError(f"{archive}: {info.name} is a link or a device; {ADVICE}")
            with bundle.extractfile(info) as file:
                yield Member(info.name, info.size, file)


class _TarInfo(tarfile.TarInfo):
    """Headers of a tar. The library takes a broken or absent one for the archive's end, which zeros mark."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        if len(buf) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("unexpected end of data")
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.InvalidHeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _check_name(archive: Path, name: str) -> None:
    """Refuse paths that lead out of a folder, on this system or on another."""
    paths = PurePosixPath(name), PureWindowsPath(name)
    if "\0" in name or any(path.is_absolute() or path.drive or ".." in path.parts for path in paths):
        raise InputError(f"{archive}: {name!r} leads out of the folder that it is unpacked in; nothing was unpacked")
