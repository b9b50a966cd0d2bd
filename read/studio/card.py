"""The dataset card of a folder of videos: the one that names it, or a new one."""

import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from read.errors import InputError, optional_imports
from read.files import read_text, write_text
from read.rows import WEEK, is_broken, number_of, shown
from read.studio.saved import refused

CATALOG = Path("data/catalog")
CARD = "card.yaml"
OWN = {CARD: "the card", "history.jsonl": "the history", "transcripts.jsonl": "what is said in videos"}
CARD_TEXT = """\
# Made by `read-adapters studio`, for the videos of a folder on this machine. All keys: ../template/card.yaml

title: {title}
licence: my own          # who may use them for what; shown in the report
annotations: annotations.jsonl
videos:
  source: local
  folder: {folder}
"""


@dataclass(frozen=True)
class CardPlace:
    """A card, its folder, and the files of labels that it names; `clip_len` in seconds where it is bound to one."""

    name: str
    folder: Path
    annotations: Path
    summaries: Path
    extensions: tuple[str, ...] | None = None
    clip_len: float | None = None


def find_or_make_card(working: Path, folder: Path) -> CardPlace:
    """The card whose videos are those of a folder; one is made where there is none.

    Args:
        working: a checkout, where Snakefile and params.yaml are.
        folder: of videos.

    Raises:
        InputError: that is no checkout, or no folder; or the card has labels that are not one file beside it.
    """
    working, folder = Path(working), Path(folder).expanduser()
    for needed in ("Snakefile", "params.yaml"):
        if not (working / needed).is_file():
            raise InputError(f"{working.resolve()}: has no {needed}; run this where READ's Snakefile is")
    if not folder.is_dir():
        raise InputError(f"{folder}: {'is a file; name the folder of videos' if folder.exists() else 'no such folder'}")
    folder = Path(os.path.realpath(folder))
    if is_broken(str(folder)):
        raise InputError(f"{os.fsencode(folder).decode(errors='replace')}: the name is no text; rename the folder")
    catalog = working / CATALOG
    for path, card in _cards(catalog):
        videos = card.get("videos")
        local = isinstance(videos, dict) and videos.get("source") == "local" and isinstance(videos.get("folder"), str)
        if local and path.parent.name != "template" and _leads_to(path.parent, videos["folder"]) == folder:
            return _place(path, card)
    return _make(catalog, folder)


def note_in_card(folder: Path, summaries: Path | None, clip_len: float | None) -> None:
    """Have the card in a folder name its summaries while there are any, and the length of clips once scores are.

    The rest of the card, with its comments, stays. Where there is no card nothing is done.

    Raises:
        InputError: the card cannot be read or written.
    """
    path = folder / CARD
    if not path.is_file():
        return
    card = _load(path)
    wanted = dict(card)
    if summaries is None:
        wanted.pop("summaries", None)
    elif not isinstance(card.get("summaries"), str):
        wanted["summaries"] = os.path.relpath(summaries, folder)
    if clip_len is not None:
        wanted.setdefault("clip_len", clip_len)
    if wanted == dict(card):
        return
    for key in [key for key in card if key not in wanted]:
        del card[key]
    card.update({key: value for key, value in wanted.items() if key not in card})
    out = StringIO()
    _yaml().dump(card, out)
    with refused(path):
        write_text(path, out.getvalue())


def _leads_to(base: Path, given: str) -> Path | None:
    """Where a path of a card leads, if anywhere: those of others may be anything."""
    try:
        return Path(os.path.realpath(base / Path(given).expanduser()))
    except (RuntimeError, ValueError):
        return None


def _yaml() -> Any:
    with optional_imports():
        from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 10**6
    return yaml


def _load(path: Path) -> Any:
    with optional_imports():
        from ruamel.yaml.error import YAMLError

    try:
        card = _yaml().load(read_text(path))
    except (YAMLError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(card, dict):
        raise InputError(f"{path}: is no card")
    return card


def _cards(catalog: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The cards of a catalogue that can be read; another's mistakes are not this folder's."""
    for path in sorted(catalog.glob(f"*/{CARD}")):
        try:
            yield path, _load(path)
        except (InputError, OSError):
            continue


def _place(path: Path, card: Mapping[str, Any]) -> CardPlace:
    named = {}
    for key in ("annotations", "summaries"):
        value = card.get(key)
        if value is not None and not isinstance(value, str):
            raise InputError(f"{path}: {key} is no single file; labels that are downloaded or in parts are not edited")
        named[key] = path.parent / Path(value or f"{key}.jsonl").expanduser()
    if card.get("annotations") is None:
        why = "queries come from subtitles" if card.get("subtitles") else "there is no line `annotations`"
        raise InputError(f"{path}: {why}; write `annotations: annotations.jsonl`, where labels are to be kept")
    extensions = card["videos"].get("extensions")
    suffixes = tuple(map(str, extensions)) if isinstance(extensions, list) else None
    clip_len = card.get("clip_len")
    if clip_len is not None and not 0 < number_of(clip_len, f"{path}: clip_len") < WEEK:
        raise InputError(f"{path}: clip_len is {shown(clip_len)}; it has to be a number of seconds above 0, as 2.0")
    taken = {os.path.realpath(path.parent / name): what for name, what in OWN.items()}
    for key, file in named.items():
        if (other := taken.setdefault(os.path.realpath(file), key)) != key:
            raise InputError(f"{path}: {key} is {file.name}, which is kept for {other} here; name another file")
    return CardPlace(path.parent.name, path.parent, **named, extensions=suffixes, clip_len=clip_len)


def _make(catalog: Path, folder: Path) -> CardPlace:
    slug = name_for(folder.name)
    catalog.mkdir(parents=True, exist_ok=True)
    taken = {path.name for path in catalog.iterdir()}
    names = (slug if number == 1 else f"{slug}-{number}" for number in range(1, 10**6))
    name = next(name for name in names if name not in taken)
    path = catalog / name / CARD
    with refused(path):
        path.parent.mkdir()
        write_text(path, CARD_TEXT.format(title=json.dumps(folder.name or name), folder=json.dumps(str(folder))))
    return _place(path, _load(path))


def name_for(folder: str) -> str:
    """A dataset's name for a folder's: plain letters, digits and hyphens; "videos" where none are left."""
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "videos"
    return f"{name}-videos" if name.endswith("-synthetic") else name  # the pipeline has a meaning for that end
