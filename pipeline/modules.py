"""The code of a program: the modules that it imports, and theirs, without comments and docstrings.

Read from the source text, so that nothing is imported. What a module imports inside its functions counts as well. An
`__init__` that only passes names on counts by the names that are taken from it: who asks `read.data` for `Annotation`
depends on `read.data.annotations`, and on none of its neighbours. Modules that are looked for by a name made at run
time are not seen here; `pipeline.code` adds them.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from read.files import write_json

TOPS = ("pipeline", "read")
CACHE = Path(".snakemake/modules.json")  # what was read from each file, by its time and size; never needed


@dataclass(frozen=True)
class Module:
    """What is read from a module's file.

    Attributes:
        digest: of its code.
        imports: (module, name) of each import; the name is empty where a module is imported as a whole.
        passes_on: it is an `__init__` that does nothing else.
        data: files and folders beside it that it names, and that are no Python.
    """

    digest: str
    imports: list[tuple[str, str]]
    passes_on: bool
    data: list[str]


class Sources:
    """The modules below the working directory. Each file is parsed once, and again only after a change."""

    def __init__(self) -> None:
        self._own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        self._known = self._load()
        self._read: dict[str, Module] = {}

    def digest(self, entries: Iterable[str]) -> str:
        """A digest of all code behind some modules. Raises FileNotFoundError for a module that there is not."""
        found = hashlib.sha256()
        for name in sorted(self.closure(entries)):
            module = self.module(name)
            found.update(f"{name} {module.digest}\n".encode())
            for path in _files(module.data):
                found.update(path.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return found.hexdigest()[:16]

    def closure(self, entries: Iterable[str]) -> set[str]:
        """Names of the modules behind some modules, these included."""
        found: set[str] = set()
        asked: set[tuple[str, str]] = set()
        rest = [(name, "") for name in entries]
        while rest:
            request = rest.pop()
            if request in asked:
                continue
            asked.add(request)
            name, wanted = request
            module = self.module(name)
            if wanted and _path(f"{name}.{wanted}"):
                rest.append((f"{name}.{wanted}", ""))
                if module.passes_on:
                    continue
            if not module.passes_on:
                found.add(name)
            above = name.rpartition(".")[0]
            if above and not self.module(above).passes_on:
                rest.append((above, ""))
            taken = [pair for pair in module.imports if pair[1] == wanted] if module.passes_on and wanted else []
            rest += taken or module.imports
        return found

    def module(self, name: str) -> Module:
        """A module by its dotted name. Raises FileNotFoundError."""
        if name not in self._read:
            path = _path(name)
            if path is None:
                raise FileNotFoundError(f"no module {name} below {Path.cwd()}")
            state = path.stat()
            key = [state.st_mtime_ns, state.st_size]
            known = self._known.get(path.as_posix())
            if known is None or known[0] != key:
                known = self._known[path.as_posix()] = [key, asdict(parse(name, path))]
            self._read[name] = Module(**known[1] | {"imports": [tuple(pair) for pair in known[1]["imports"]]})
        return self._read[name]

    def changed(self) -> list[str]:
        """Files whose code is no longer what was kept of them; none where nothing was."""
        return sorted(name for name, (key, about) in self._known.items() if _differs(Path(name), key, about["digest"]))

    def save(self) -> None:
        """Keep what was read for the next time, where that can be written."""
        if self._known != self._load():
            with suppress(OSError):  # in a folder that may only be read the next one parses again
                write_json(CACHE, {"by": self._own, "files": self._known})

    def _load(self) -> dict:
        try:
            content = json.loads(CACHE.read_text(encoding="utf-8"))
            return content["files"] if content["by"] == self._own else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def _differs(path: Path, key: list[int], digest: str) -> bool:
    try:
        state = path.stat()
        return key != [state.st_mtime_ns, state.st_size] and parse("", path).digest != digest
    except (FileNotFoundError, SyntaxError):
        return True


@cache
def _path(name: str) -> Path | None:
    base = Path(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _files(names: Iterable[str]) -> Iterator[Path]:
    for path in map(Path, names):
        yield from sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def parse(name: str, path: Path) -> Module:
    """Read a module's file. Raises SyntaxError."""
    tree = ast.parse(path.read_bytes(), path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    _drop_docstrings(tree)
    homes = sorted(set(_homes(tree, package))) if path.name == "__init__.py" else []
    return Module(
        hashlib.sha256("".join(_spell(tree)).encode("utf-8", "surrogatepass")).hexdigest(),
        homes or sorted(set(_imports(tree, package))),
        path.name == "__init__.py" and (bool(homes) or all(map(_passes_on, tree.body))),
        sorted(_data(tree, path.parent)),
    )


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]


def _spell(node: ast.AST) -> Iterator[str]:
    """A node as text that is the same in every version of Python, as `ast.dump` is not: what is empty is left out."""
    yield f"({type(node).__name__}"
    for key in node._fields:
        value = getattr(node, key, None)
        if value is None and not (isinstance(node, ast.Constant) and key == "value"):
            continue
        if isinstance(value, ast.expr_context) or value == []:
            continue
        yield f" {key}="
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                yield from _spell(item)
            else:
                yield f"{item!r},"
    yield ")"


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] in TOPS)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            origin = ".".join(filter(None, (above, node.module)))
            if origin.partition(".")[0] in TOPS:
                yield from ((origin, "" if alias.name == "*" else alias.name) for alias in node.names)


def _passes_on(node: ast.stmt) -> bool:
    """Whether a statement of an `__init__` only passes names on."""
    named = isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    plain = isinstance(node, ast.ImportFrom) and all(alias.asname in (None, alias.name) for alias in node.names)
    return named or plain


def _homes(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    """(module, name) of each name of an `__init__` that does nothing but look names up in their modules."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef)
    assigned = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    rest = [node for node in tree.body if not isinstance(node, (*kinds, ast.Assign))]
    if assigned.keys() == {"_HOMES", "_HOME_OF", "__all__"} and defined == {"__getattr__"} and not rest:
        for home, names in ast.literal_eval(assigned["_HOMES"]).items():
            yield from ((f"{package}.{home}", name) for name in names)


def _data(tree: ast.Module, folder: Path) -> Iterator[str]:
    """What a module that looks beside its own file names there."""
    nodes = list(ast.walk(tree))
    if not any(isinstance(node, ast.Name) and node.id == "__file__" for node in nodes):
        return
    words = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for word in words:
        for base in (folder, folder.parent):
            path = base / word
            if word.strip(".") and (_is_data(path) or (path.is_dir() and not any(path.rglob("*.py")))):
                yield path.as_posix()


def _is_data(path: Path) -> bool:
    return path.is_file() and path.suffix != ".py"
