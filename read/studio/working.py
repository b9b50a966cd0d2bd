"""The checkout in which the studio trains: its params.yaml, of which single values are changed, and who works in it."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from read.errors import InputError, optional_imports
from read.files import machine, read_text, write_text
from read.processes import is_alive

PARAMS = "params.yaml"
LEASES = Path(".snakemake/leases")  # a small file for the run and for each of its jobs; pipeline/engine/leases.py
WORD = re.compile(r"[A-Za-z][\w-]*")
STALE = 120.0  # seconds without a touch, after which a process of another machine counts as gone
Change = tuple[str, Any, Any]  # dotted key, the value that it has, the one that it gets


class ParamsFile:
    """A checkout's params.yaml: its values, and changes of some of them that leave all other text as it is.

    Args:
        working: the checkout.

    Raises:
        InputError: there is no such file, or it is not YAML, or no mapping of keys.
    """

    def __init__(self, working: Path) -> None:
        with optional_imports():
            from ruamel.yaml import YAML
            from ruamel.yaml.error import YAMLError

        self.path, self._yaml = working / PARAMS, YAML(typ="safe", pure=True)
        self._yaml.version = (1, 1)  # as the pipeline reads it, by which `yes` is no text
        try:
            self.text = read_text(self.path)
            self.values = self._yaml.load(self.text)
            self._root = self._yaml.compose(self.text)
        except FileNotFoundError:
            raise InputError(f"{self.path}: no such file; the studio trains in a checkout of READ") from None
        except (YAMLError, RecursionError, ValueError) as error:
            raise InputError(f"{self.path}: not valid YAML: {' '.join(str(error).split())[:400]}") from None
        if not isinstance(self.values, dict):
            raise InputError(f"{self.path}: holds no keys; `git checkout {PARAMS}` brings the file that came with READ")

    def get(self, key: str) -> Any:
        """The value of a dotted key. Raises InputError where there is none."""
        try:
            return reduce(getitem, key.split("."), self.values)
        except (KeyError, TypeError):
            raise InputError(f"{self.path}: {key}: is missing") from None

    def changes(self, wanted: Mapping[str, Any]) -> list[Change]:
        """Those of some values by dotted key that are others than the file's."""
        return [(key, old, new) for key, new in wanted.items() if (old := self.get(key)) != new]

    def write(self, changes: Sequence[Change]) -> None:
        """Change values in the file, whole or not at all; comments, order and all else stay.

        Raises:
            InputError: a value stands there in a form that cannot be changed alone, as by an alias.
        """
        places = sorted(((*self._place(key), new) for key, _, new in changes), reverse=True)
        text = self.text
        for start, end, new in places:
            text = _replaced(text, start, end, self._written(new))
        expected = deepcopy(self.values)
        for key, _, new in changes:
            *sections, leaf = key.split(".")
            reduce(getitem, sections, expected)[leaf] = new
        if self._loaded(text) != expected:
            told = "; ".join(f"{key}: {self._written(new)}" for key, _, new in changes)
            raise InputError(f"{self.path}: could not be changed; write these by hand: {told}")
        write_text(self.path, text)

    def _loaded(self, text: str) -> Any:
        """The values of a text; None where it is no YAML."""
        from ruamel.yaml.error import YAMLError

        with suppress(YAMLError):
            return self._yaml.load(text)

    def _written(self, value: Any) -> str:
        """A value on one line of YAML: a name without quotes where it is read as a name."""
        if isinstance(value, list):
            return f"[{', '.join(map(self._written, value))}]"
        plain = isinstance(value, str) and WORD.fullmatch(value) and self._yaml.load(value) == value
        return value if plain else json.dumps(value)

    def _place(self, key: str) -> tuple[int, int]:
        """From where to where the value of a key stands in the text."""
        node = self._root
        for part in key.split("."):
            name, node = next(((name, value) for name, value in node.value if name.value == part), (None, None))
            if node is None:
                raise InputError(f"{self.path}: {key}: comes by an alias; write it out, so that it can be changed")
        is_block = isinstance(node.value, list) and not node.flow_style
        start = self.text.index(":", name.end_mark.index) + 1 if is_block else node.start_mark.index
        return start, _end(node)


def _end(node: Any) -> int:
    """Where the text of a node ends. A block's own mark stands at the next token, after comments of what follows."""
    if isinstance(node.value, list) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end(last[-1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _replaced(text: str, start: int, end: int, new: str) -> str:
    """A text with another value in it; a comment behind it stays in its column as far as there is room."""
    if text[start - 1] == ":":
        new = f" {new}"
    rest, line_end, rest_of_text = text[end:].partition("\n")
    if rest.lstrip().startswith("#") and "\n" not in text[start:end]:
        room = len(rest) - len(rest.lstrip()) + (end - start) - len(new)
        rest = " " * max(1, room) + rest.lstrip()
    return text[:start] + new + rest + line_end + rest_of_text


def card_file(working: Path, name: str, key: str) -> Path | None:
    """The file beside a dataset's card that a key of the card names; None where it names none, or none is there.

    Raises:
        InputError: the card is gone, or broken.
    """
    with optional_imports():
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

    card = working / "data/catalog" / name / "card.yaml"
    try:
        named = YAML(typ="safe", pure=True).load(read_text(card)).get(key)
    except FileNotFoundError:
        raise InputError(f"{card}: no such file; open the folder of videos in the studio again") from None
    except (YAMLError, AttributeError) as error:
        raise InputError(f"{card}: not valid YAML, or no mapping: {' '.join(str(error).split())[:400]}") from None
    path = card.parent / named if isinstance(named, str) else None
    return path if path is not None and path.is_file() else None


def run_at_work(working: Path) -> dict[str, Any] | None:
    """The lease of a run that is at work in a checkout, from whichever machine; None where none is."""
    return next((lease for name, lease in _live_leases(working) if name == "run"), None)


def jobs_at_work(working: Path) -> list[str]:
    """What the jobs make that are at work there: a stage and what of it, as `train grounding read shots 2 seed 0`."""
    return sorted(str(lease["job"]) for name, lease in _live_leases(working) if name != "run")


def _live_leases(working: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in (working / LEASES).glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # it is over, or half written
            lease, touched = json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime
            here = lease["machine"] == machine() and Path(lease["folder"]).resolve() == working.resolve()
            if is_alive(lease["pid"], lease["began"]) if here else time.time() - touched < STALE:
                yield path.stem, lease
