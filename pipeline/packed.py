"""A shard's videos in one file, for jobs that are handed files by object storage, which knows no folders."""

import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from read.files import atomic_path


def pack(folder: Path, names: Iterable[str], tar: Path) -> None:
    """Write files of a folder, named as seen from it, into a tar. Equal files give equal bytes."""
    with atomic_path(tar) as draft, tarfile.open(draft, "w") as bundle:
        for name in sorted(set(names)):
            info = tarfile.TarInfo(name)
            info.size = (folder / name).stat().st_size
            with (folder / name).open("rb") as file:
                bundle.addfile(info, file)


@contextmanager
def unpacked(tars: Sequence[Path], folder: Path) -> Iterator[Path]:
    """Where the files are: the folder itself, or one in it with what some tars hold, for as long as it is used."""
    if not tars:
        yield folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=folder) as room:
        for tar in tars:
            with tarfile.open(tar) as bundle:
                bundle.extractall(room, filter="data")
        yield Path(room)
