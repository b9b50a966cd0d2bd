"""Floors, arrows only downward, as CONTRIBUTING's table draws them."""

import ast
import re
from itertools import product
from pathlib import Path

import pytest

import read

ROOT = Path(__file__).parents[1]


def floors() -> list[list[str]]:
    """The modules and packages of each floor, from the top, as the table in CONTRIBUTING.md names them."""
    rows = re.findall(r"^\| (`.*?) \|.*\|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [[name for entry in re.findall("`(.*?)`", row) for name in expand(entry)] for row in rows]


def expand(entry: str) -> list[str]:
    """`read/{a,b}.py` -> read.a, read.b."""
    parts = [part.strip("{}").split(",") for part in re.findall(r"{.*?}|[^{]+", entry.removesuffix(".py"))]
    return ["".join(names).strip("/").replace("/", ".") for names in product(*parts)]


FLOORS = floors()
ROOMS, GROUND = FLOORS[-2:]


def place_of(module: str) -> tuple[int, str] | None:
    """The floor, counted from the top, and its entry, of a module; None for the front door itself."""
    places = [(level, entry) for level, entries in enumerate(FLOORS) for entry in entries]
    return next((place for place in places if f"{module}.".startswith(f"{place[1]}.")), None)


def modules():
    return sorted(path for top in ("read", "pipeline") for path in (ROOT / top).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def file_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imports_of(path: Path) -> set[str]:
    return imports_in(path.read_text(encoding="utf-8"), name_of(path), path.name == "__init__.py")


def imports_in(code: str, module: str, package: bool = False) -> set[str]:
    """The project's modules that code imports, as `module`; names of the front door are of their homes."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + package] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            found |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "read":
            found.add(f"read.{node.attr}")
    found = {read._HOME_OF.get(name.removeprefix("read."), name) for name in found}
    return {name for name in found if name.split(".")[0] in ("read", "pipeline") and file_of(name)}


def faults(module: str, others: set[str]) -> list[str]:
    """Arrows from a module that do not point downward, or from room to room."""
    (level, entry), wrong = place_of(module), []
    for other in sorted(others - {"read"}):
        place = place_of(other)
        if place is None or place[0] < level:
            wrong.append(f"{module} imports {other}, of a floor above")
        elif entry in ROOMS and place[0] == level and place[1] != entry:
            wrong.append(f"{module} imports {other}: rooms do not know each other")
    return wrong


def test_every_module_has_its_floor():
    assert [path for path in modules() if name_of(path) != "read" and place_of(name_of(path)) is None] == []
    assert [entry for entries in FLOORS for entry in entries if file_of(entry) is None] == []
    assert imports_of(ROOT / "read/__init__.py") == set(), "the front door looks names up when they are asked for"


@pytest.mark.parametrize("path", [path for path in modules() if name_of(path) != "read"], ids=name_of)
def test_arrows_point_downward(path):
    assert faults(name_of(path), imports_of(path)) == []


@pytest.mark.parametrize(
    "module, code",
    [
        ("read.adapters.inject", "from read import Predictor"),
        ("read.adapters.inject", "import read\nread.build_backbone('umt')"),
        ("read.data.samples", "from ..metrics import rows"),
        ("read.data.samples", "def later():\n    from read.encoders import frames"),
        ("read.bundle.pack", "from read.commands import predict"),
        ("read.train", "import read.predictor as p"),
        ("read.files", "from read.transport import plan"),
        ("read.app.site", "from pipeline import params"),
    ],
)
def test_the_test_would_notice(module, code):
    assert faults(module, imports_in(code, module))


@pytest.mark.parametrize(
    "module, code",
    [
        ("read.bundle.card", "from read import __version__\nfrom . import folder"),
        ("read.commands.app", "from read import Predictor"),
        ("read.backbones.base", "from read.weights import check_fit"),
        ("pipeline.stages.train", "from read.train import tune"),
    ],
)
def test_what_points_downward_may(module, code):
    assert imports_in(code, module) and faults(module, imports_in(code, module)) == []


def test_quick_starts_are_for_processes_of_our_own():
    """`light` hides packages while it imports: harmless in a job or a command, a surprise in somebody's program."""
    users = {name_of(path) for path in modules() if "read.encoders.light" in imports_of(path)}
    assert users and all(name.startswith(("pipeline.stages.", "read.commands.")) for name in users)
