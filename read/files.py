"""Files that are written whole or not at all, and their digests."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends, remove it when it raises.

    The temporary name keeps the suffix, since encoders and writers go by it. Works for a file and for a folder.
    A folder replaces the one that stands at `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    draft = room / path.name
    try:
        yield draft
        if draft.is_dir() and path.is_dir():
            path.rename(room / "replaced")
        draft.replace(path)
    finally:
        shutil.rmtree(room, ignore_errors=True)


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


def read_json(path: str | Path) -> Any:
    """The value in a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_jsonl(path: str | Path) -> list[dict]:
    """The objects of a JSON-lines file; blank lines are passed over."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line.strip()]


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file's content, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
