"""Files of safetensors that are mapped into memory, so that a tensor is read alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from read.errors import InputError
from read.files import check_sha256

MAPPED = 2**27  # bytes that are read before mappings are let go: until then, what was read counts as this process'


class MappedFiles:
    """Tensors by file and key.

    To open a file means to read its header, which is as long as it has tensors, so files stay open; but no longer than
    until `MAPPED` bytes were read of them.
    """

    def __init__(self) -> None:
        self._open: dict[Path, Any] = {}
        self._checked: dict[Path, tuple[int, ...]] = {}
        self._mapped = 0

    def add(self, path: Path, sha256: str | None) -> Iterable[str]:
        """The keys of a file. Raises InputError where it has another digest than this, if one is known."""
        self._checked[path] = _identity(path)
        check_sha256(path, sha256)
        return self._file(path).keys()

    def shape(self, path: Path, key: str) -> tuple[int, ...]:
        """The shape of a tensor, which is not read."""
        return tuple(self._file(path).get_slice(key).get_shape())

    def tensor(self, path: Path, key: str) -> torch.Tensor:
        """A tensor, float32 whatever the file's type. Raises InputError where another file was put there."""
        if self._mapped > MAPPED:
            self._open.clear()
            self._mapped = 0
        tensor = self._file(path).get_tensor(key)
        self._mapped += tensor.nbytes
        return tensor.float()

    def _file(self, path: Path) -> Any:
        if path not in self._open:
            if _identity(path) != self._checked[path]:
                raise InputError(f"{path}: was replaced while it was read; start again")
            self._open[path] = safe_open(path, framework="pt")
        return self._open[path]


def _identity(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
