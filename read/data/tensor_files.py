"""Files of safetensors of which one tensor is read at a time.

They are read and not mapped: pages of a mapped file, and many around them, count as the memory of the process.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from read.errors import InputError
from read.files import check_sha256, decode_json

TYPES: dict[str, np.dtype] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
LENGTH = 8  # bytes that say how long the header is


class TensorFiles:
    """Tensors by file and key. What is held of each is its place."""

    def __init__(self) -> None:
        self._places: dict[Path, dict[str, tuple[np.dtype, tuple[int, ...], int]]] = {}  # type, shape, first byte
        self._checked: dict[Path, tuple[int, ...]] = {}

    def add(self, path: Path, sha256: str | None) -> Iterable[str]:
        """The keys of a file. Raises InputError where it has another digest than this, if one is known."""
        self._checked[path] = _identity(path.stat())
        check_sha256(path, sha256)
        with safe_open(path, framework="np"), path.open("rb") as file:  # the former looks whether all places are sound
            size = int.from_bytes(file.read(LENGTH), "little")
            header = decode_json(file.read(size).decode())
        header.pop("__metadata__", None)
        self._places[path] = {
            key: (TYPES[about["dtype"]], tuple(about["shape"]), LENGTH + size + about["data_offsets"][0])
            for key, about in header.items()
        }
        return sorted(header)

    def shape(self, path: Path, key: str) -> tuple[int, ...]:
        """The shape of a tensor, which is not read."""
        return self._places[path][key][1]

    def tensor(self, path: Path, key: str) -> torch.Tensor:
        """A tensor, float32 whatever the file's type. Raises InputError where another file was put there."""
        dtype, shape, start = self._places[path][key]
        with path.open("rb") as file:
            if _identity(os.fstat(file.fileno())) != self._checked[path]:
                raise InputError(f"{path}: was replaced while it was read; start again")
            found = np.fromfile(file, dtype, int(np.prod(shape)), offset=start)
        return torch.from_numpy(found.reshape(shape)).float()


def _identity(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
