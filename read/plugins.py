"""Plug-ins: a plug-in is a file of a folder, its stem is its name. And what somebody may have meant by a name.

A folder's names are listed without importing anything, and a file is imported when its name is asked for: a mistake in
one hurts nobody who does not name it. Nothing else in the project imports a module whose name is made at run time.
"""

import ast
import difflib
import importlib
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from read.errors import InputError, missing_package

CLOSE = 0.5  # of difflib's ratio: what is less alike was hardly meant


@dataclass(frozen=True)
class Plugins:
    """The plug-ins of one kind.

    Attributes:
        kind: what one of them is, for messages: "strategy".
        package: dotted name of their folder.
        holds: the name, in a plug-in's module, of what it offers.
    """

    kind: str
    package: str
    holds: str

    @property
    def folder(self) -> Path:
        """Where the files are; found without importing the packages above it."""
        top, *below = self.package.split(".")
        spec = find_spec(top)
        assert spec is not None and spec.origin is not None, "a package of ours"
        return Path(spec.origin).parent.joinpath(*below)

    def names(self) -> list[str]:
        """Their names in order; a file whose name begins with an underscore is none."""
        return sorted(path.stem for path in self.folder.glob("*.py") if not path.stem.startswith("_"))

    def path(self, name: str) -> Path:
        """The file of a plug-in. Raises InputError as `check`."""
        self.check(name)
        return self.folder / f"{name}.py"

    def module(self, name: str) -> str:
        """The dotted name of a plug-in's module. Raises InputError as `check`."""
        self.check(name)
        return f"{self.package}.{name}"

    def check(self, name: Any) -> None:
        """Raise an InputError for a name that there is not, with the nearest."""
        known = self.names()
        if name not in known:
            raise InputError(f"no {self.kind} {name!r}{suggest(name, known)}")

    def constant(self, name: str, constant: str, *default: Any) -> Any:
        """A constant of a plug-in's file, read without importing it: a literal of Python.

        Raises:
            InputError: there is no such name, the file is no Python, or has no such literal and no default is given.
        """
        path = self.path(name)
        try:
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == constant:
                    return ast.literal_eval(node.value)
        except (SyntaxError, ValueError) as error:
            raise InputError(f"{self.kind} {name} ({path}): {constant} cannot be read: {error}") from None
        if default:
            return default[0]
        raise InputError(f"{self.kind} {name} ({path}): holds no {constant}")

    def load(self, name: str) -> Any:
        """What a plug-in offers; its file is imported.

        Raises:
            InputError: there is no such name; the file has a mistake or needs a package that is not installed, which
                the message says; or it holds no `holds`.
        """
        path, module = self.path(name), self.module(name)
        try:
            found = importlib.import_module(module)
        except InputError:
            raise
        except ModuleNotFoundError as error:
            raise InputError(f"{self.kind} {name} ({path}): {missing_package(error)}") from error
        except Exception as error:  # somebody's file: whatever can go wrong in one
            raise InputError(f"{self.kind} {name} ({path}): does not load: {_reason(error)}") from error
        if not hasattr(found, self.holds):
            raise InputError(f"{self.kind} {name} ({path}): holds no {self.holds}")
        return getattr(found, self.holds)


def _reason(error: Exception) -> str:
    """An error's type, words and line, as the end of a traceback has them."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} (line {error.lineno})"
    return f"{type(error).__name__}: {error} (line {traceback.extract_tb(error.__traceback__)[-1].lineno})"


STRATEGIES = Plugins("strategy", "read.adapters.strategies", "STRATEGY")
BACKBONES = Plugins("backbone", "read.backbones.grounding", "BACKBONE")
TEXT_MODELS = Plugins("text model", "read.backbones.summarization", "TEXT_MODEL")
ENCODERS = Plugins("encoder", "read.encoders.kinds", "ENCODER")
QUERY_LAYOUTS = Plugins("layout", "read.data.layouts.queries", "convert")
SUMMARY_LAYOUTS = Plugins("layout", "read.data.layouts.summaries", "load")
PACKAGE_LAYOUTS = Plugins("layout", "read.data.layouts.packages", "FORMS")
LABEL_FORMATS = Plugins("format of labels", "read.studio.formats", "FORMAT")
PROTOCOLS = Plugins("metric", "read.metrics.protocols", "PROTOCOL")


def nearest(name: Any, known: Iterable[str], count: int = 1) -> list[str]:
    """The names most like `name`, at most `count`, best first; capitals do not matter."""
    spelled: dict[str, str] = {}
    for other in sorted(known):
        spelled.setdefault(other.casefold(), other)
    close = difflib.get_close_matches(str(name).casefold(), spelled, n=count, cutoff=CLOSE)
    return [spelled[other] for other in close]


def suggest(name: Any, known: Iterable[str], count: int = 1) -> str:
    """The end of a message about an unknown name: `; did you mean ...?`, or what there is where nothing is near."""
    known = sorted(known)
    if close := nearest(name, known, count):
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}" if known else "; there are none"


def none_of(value: Any, choices: Iterable[str]) -> str:
    """A message about a value that is none of a few, with the nearest."""
    choices = list(choices)
    close = nearest(value, choices)
    return f"{value!r} is none of {', '.join(choices)}" + (f"; did you mean {close[0]}?" if close else "")
