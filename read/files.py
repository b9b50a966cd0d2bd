"""Files that are written whole or not at all, what is read from them, and their digests."""

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from read.errors import InputError


@cache
def machine() -> str:
    """What tells this machine from others, as far as its processes are counted: each boot and container is another."""
    marks = [socket.gethostname()]
    with suppress(OSError):
        marks += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:8]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends, remove it when it raises.

    The temporary name keeps the suffix, since encoders and writers go by it. Works for a file and for a folder.
    A folder replaces the one that stands at `path`. Of a link, what it points to is replaced. What is no regular file,
    as /dev/null or a named pipe, is never replaced: the content goes into it. Files and folders get the permissions
    that the umask leaves, whatever their writer gave them. The temporary path lies in a folder whose name says which
    process of which machine makes it, `.<name>.<machine>-<pid>.<letters>.part`.

    Raises:
        InputError: `path` is a link that leads back to itself; a folder is to be written where a device stands.
    """
    path = Path(path)
    special = path.exists() and not path.is_file() and not path.is_dir()
    if path.is_symlink() and not special:
        try:
            path = path.resolve()
        except (RuntimeError, OSError):
            raise InputError(f"{path}: a link that leads back to itself") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name[:32]}.{machine()}-{os.getpid()}."  # a name that is as long as can be has no room for more
    room = Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=None if special else path.parent))
    draft = room / path.name
    try:
        yield draft
        if special:
            _pour(draft, path)
            return
        _open_to_others(draft, room)
        if draft.is_dir() and path.is_dir():
            path.rename(room / "replaced")
        draft.replace(path)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _pour(draft: Path, path: Path) -> None:
    if draft.is_dir():
        raise InputError(f"{path}: is a device or a pipe; a folder cannot be written into it")
    with draft.open("rb") as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def _open_to_others(draft: Path, room: Path) -> None:
    """Give what was written the permissions of any new file: some writers, as safetensors, make files of mode 600."""
    probe = room / ".probe"
    probe.touch(0o666)  # as the umask, which cannot be asked for without changing it for all threads
    mode = probe.stat().st_mode & 0o666
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            runs = mode >> 2 & 0o111 if path.is_dir() else path.stat().st_mode & 0o111
            path.chmod(mode | runs)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` atomically, as indented JSON. NaN is refused with a ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_jsonl(path: str | Path, rows: list[dict]) -> None:
    """Write one JSON object a line to `path`, atomically. NaN is refused with a ValueError."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def read_text(path: str | Path) -> str:
    """The text in a file: UTF-8, with or without a byte order mark. Raises InputError with the line of another byte."""
    content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not a text in UTF-8 ({error.reason})") from None


def decode_json(text: str) -> Any:
    """The value that a text in JSON stands for.

    Raises:
        InputError: it is not JSON, is nested too deeply, has a number of thousands of digits, or a key twice in an
            object, of which Python would drop the first without a word.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise InputError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error}") from None
    except InputError:
        raise
    except ValueError:
        raise InputError("a number of thousands of digits") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise InputError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return values


def read_json(path: str | Path) -> Any:
    """The value in a JSON file. Raises InputError as `read_text` and `decode_json`, with the file's name."""
    text = read_text(path)
    try:
        return decode_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_jsonl(path: str | Path) -> list[dict]:
    """The objects of a JSON-lines file; blank lines are passed over. Raises as `read_json`, with the line's number."""
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                rows.append(decode_json(line))
            except InputError as error:
                raise InputError(f"{path}:{number}: {error}") from None
    return rows


def check_sha256(path: str | Path, sha256: str | None) -> None:
    """Raise InputError unless a file has this digest, where one is known."""
    if sha256 not in (None, found := sha256_of(path)):
        raise InputError(f"{path}: is damaged or was changed; its sha256 is {found}, not {sha256}")


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file's content, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """A short digest of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
