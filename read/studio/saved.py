"""What has been saved is on the disk: files written whole, lines appended, and one process that holds a folder."""

import errno
import fcntl
import glob
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from read.errors import InputError

LOCK = ".studio.lock"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
Signature = tuple[int, int, int, int] | None


class UnsavedError(InputError):
    """Nothing can be saved at the moment, whatever it is: the disk is full, or a file is broken. It may be later."""


def write_durably(contents: Mapping[Path, bytes]) -> None:
    """Write files, each whole; they and their names are on the disk when this returns.

    No file is replaced before there is room for all. Of a link, what it points to is replaced.

    Raises:
        InputError: there is no room, or no right.
    """
    drafts: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            with refused(path):
                target = path.resolve()
                target.parent.mkdir(parents=True, exist_ok=True)
                drafts[target] = target.with_name(f".{target.name[:32]}.{os.getpid()}.part")
                _write(drafts[target], content, os.O_TRUNC)
        for target, draft in drafts.items():
            with refused(target):
                draft.replace(target)
                sync_folder(target.parent)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def append_durably(path: Path, content: bytes, size: int) -> None:
    """Append to a file of `size` bytes, and cut it back to them where that fails. Raises as `write_durably`."""
    with refused(path):
        try:
            _write(path, content, os.O_APPEND)
            if not size:
                sync_folder(path.parent)
        except OSError:
            if path.exists():
                os.truncate(path, size)
            raise


def _write(path: Path, content: bytes, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder be on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def signature(path: Path) -> Signature:
    """What changes when somebody else writes a file; None: it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """What the system refuses is told as a person would."""
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno in FULL else (error.strerror or str(error)).lower()
        raise UnsavedError(f"{path.name} could not be saved: {why}; nothing was changed") from None


def hold(folder: Path) -> int:
    """Lock a folder for this process until the descriptor that is returned is closed, or the process ends.

    Raises:
        InputError: another process holds it; the message has its number.
    """
    path = folder / LOCK
    with refused(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise InputError(f"{folder}: its labels are open already, in process {holder}; stop that one first") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def sweep(path: Path) -> None:
    """Remove what writers of a file left that were killed; to be called by who holds its folder."""
    path = path.resolve()  # drafts lie beside what a link points to
    for draft in path.parent.glob(f".{glob.escape(path.name[:32])}.*.part"):
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
