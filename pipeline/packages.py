"""Packages of published features, in the place of videos: had once, and kept as one file.

package.zip     the files that the layout names, under the layout's names, in data/raw/<dataset>/
package.json    the layout, seconds per clip, where the queries' features are from, the digest of what was published,
                and what the zip was made from
"""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.archives import DamagedError, Member, copy_content, members
from pipeline.card import Card
from pipeline.card_file import Features
from pipeline.params import DownloadSettings
from pipeline.sources import UnavailableError, mirror_folders
from pipeline.sources.base import exclusive, told
from pipeline.sources.pinned import fetch_pinned
from read.data.packages import RECORD, ZIP, Package, form_of, forms_of, name_in_layout, patterns_of
from read.errors import InputError
from read.files import atomic_path, digest_of, read_json, sha256_of, write_json


def fetch_package(card: Card, download: DownloadSettings, folder: Path) -> Package:
    """Get a dataset's package of features, if it is not there yet; jobs that want it wait for the one that came first.

    Raises:
        InputError: the card names none; it cannot be had, is damaged or unsafe, or has another layout.
    """
    if card.features is None:
        raise InputError(f"{card.folder / 'card.yaml'}: names no package of features; extract them from the videos")
    recipe = _recipe(card)
    with exclusive(folder / "package.lock.part"):
        record = folder / RECORD
        if not record.is_file() or not (folder / ZIP).is_file() or read_json(record)["recipe"] != recipe:
            record.unlink(missing_ok=True)
            sha256 = _make(card, download, folder)
            told = card.features.model_dump(exclude={"url", "path", "sha256"})
            write_json(record, told | {"sha256": sha256, "recipe": recipe})
    return Package(folder)


def _recipe(card: Card) -> list[Any]:
    """What decides the content of the zip; of a folder or a file on this machine, names, sizes and times."""
    address = {"url": told(card.features.url)} if card.features.url else {}
    recipe: list[Any] = [card.features.model_dump() | address]
    if card.features.path is not None:
        origin = _origin(card)
        files = _below(origin) if origin.is_dir() else [origin]
        recipe.append(digest_of([[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]))
    return recipe


def _origin(card: Card) -> Path:
    origin = card.path(card.features.path)
    if not origin.exists():
        raise InputError(f"{origin}: no such folder or archive of features\n{card.instructions}".rstrip())
    return origin


def _make(card: Card, download: DownloadSettings, folder: Path) -> str:
    """Write package.zip; the digest of what it was made from."""
    with _published(card, download, folder) as origin, atomic_path(folder / ZIP) as draft:
        _pack(origin, card.features, draft)
        return card.features.sha256 or sha256_of(origin if origin.is_file() else draft)


@contextmanager
def _published(card: Card, download: DownloadSettings, folder: Path) -> Iterator[Path]:
    """The archive or folder as it was published. A download is removed when it is no longer needed."""
    features, room = card.features, folder / "package.part"
    if features.path is not None:
        origin = _origin(card)
        if origin.is_file() and features.sha256 not in (None, sha256_of(origin)):
            raise InputError(f"{origin}: its sha256 is not {features.sha256}, which the card gives")
        yield origin
        return
    try:
        yield fetch_pinned(features.url, features.sha256, room, mirror_folders(card, download), download)
    except UnavailableError as reason:
        raise InputError(f"the features of {card.name} cannot be had: {reason}\n{card.instructions}".rstrip()) from None
    except DamagedError:
        shutil.rmtree(room, ignore_errors=True)  # so that the next run asks for it again
        raise
    shutil.rmtree(room, ignore_errors=True)


def _pack(origin: Path, features: Features, draft: Path) -> None:
    """Copy what belongs to the layout from a folder or an archive into a zip; equal content gives equal bytes."""
    forms, names = forms_of(features.layout, features.encoders, features.sound), dict[str, str]()
    seen = []
    with zipfile.ZipFile(draft, "w") as bundle:
        for member in _folder_members(origin) if origin.is_dir() else members(origin):
            seen += [member.name] if len(seen) < 3 else []
            name = name_in_layout(forms, member.name)
            if name is None:
                continue
            if name in names:
                raise InputError(f"{origin}: holds {name} twice, as {names[name]} and {member.name}")
            names[name] = member.name
            with bundle.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
                copy_content(member, origin, draft, file)
    if form_of(forms, names) is None:
        wanted, there = patterns_of(forms), ", ".join(seen) or "nothing"
        told = f"the layout {features.layout}, which has {wanted}"
        raise InputError(f"{origin}: holds no features in {told}; there is {there}")


def _folder_members(folder: Path) -> Iterator[Member]:
    for path in _below(folder):
        with path.open("rb") as file:
            yield Member(path.relative_to(folder).as_posix(), path.stat().st_size, file)


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
