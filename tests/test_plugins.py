"""A folder's files by their stems: listed without import, loaded one by one; and what may have been meant."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import read.plugins
from read.errors import EXTRAS, InputError, missing_package
from read.plugins import Plugins, nearest, none_of, suggest

ROOT = Path(__file__).parents[1]
KINDS = {name: value for name, value in vars(read.plugins).items() if isinstance(value, Plugins)}


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A package of plug-ins of every sort."""
    package = f"toys_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / package / "kinds"
    folder.mkdir(parents=True)
    (tmp_path / package / "__init__.py").write_text("")
    (folder / "__init__.py").write_text("")
    (folder / "_shared.py").write_text("raise RuntimeError")
    (folder / "good.py").write_text("TOY = 7\n")
    (folder / "empty.py").write_text("")
    (folder / "torn.py").write_text("\nTOY = (\n")
    (folder / "raises.py").write_text("x = 1\nTOY = x / 0\n")
    (folder / "extra.py").write_text("import rouge_score_ as _\n")
    (folder / "stranger.py").write_text("from nowhere_to_be_found.part import x\n")
    (folder / "notes.txt").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return Plugins("toy", f"{package}.kinds", "TOY")


def test_names_are_stems_and_nothing_is_imported(toys):
    assert toys.names() == ["empty", "extra", "good", "raises", "stranger", "torn"]
    assert not [name for name in sys.modules if name.startswith(toys.package.split(".")[0])]


def test_one_bad_file_hurts_nobody_who_does_not_name_it(toys):
    assert toys.load("good") == 7
    assert toys.path("torn").is_file() and toys.module("torn") == f"{toys.package}.torn"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("torn", r"toy torn \(.*torn\.py\): does not load: SyntaxError: .*never closed \(line 2\)"),
        ("raises", r"toy raises \(.*raises\.py\): does not load: ZeroDivisionError: division by zero \(line 2\)"),
        ("stranger", r"toy stranger \(.*stranger\.py\): needs the package nowhere_to_be_found"),
        ("empty", r"toy empty \(.*empty\.py\): holds no TOY"),
        ("goods", "no toy 'goods'; did you mean good"),
        ("_shared", "no toy '_shared'"),
        ("../kinds/good", "no toy"),
        (None, "no toy None"),
    ],
)
def test_what_does_not_load_says_file_and_reason(toys, name, reason):
    with pytest.raises(InputError, match=reason):
        toys.load(name)


def test_a_constant_is_read_without_import(toys):
    (toys.folder / "constants.py").write_text("import nowhere\nA = {'steps': 3, 'of': None}\nB = len('x')\n")
    assert toys.constant("constants", "A") == {"steps": 3, "of": None}
    for name, constant, reason in (
        ("constants", "B", "B cannot be read"), ("constants", "C", "holds no C"), ("torn", "A", "A cannot be read"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=reason):
            toys.constant(name, constant)


def test_a_missing_extra_names_itself(toys, monkeypatch):
    monkeypatch.setitem(EXTRAS, "rouge_score_", "summarization")
    with pytest.raises(
        InputError, match=r"rouge_score_ is not installed: pip install 'read-adapters\[summarization\]'"
    ):
        toys.load("extra")
    assert "read.nothing is not there" in missing_package(ModuleNotFoundError("No module", name="read.nothing"))


def test_extras_bring_what_they_are_said_to():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    distributions = packages_distributions()
    for package, extra in EXTRAS.items():
        listed = " ".join(extras[extra]).lower().replace("_", "-")
        assert any(name.lower().replace("_", "-") in listed for name in distributions[package]), package


@pytest.mark.parametrize("kind", KINDS)
def test_every_plugin_there_is_loads(kind):
    for name in KINDS[kind].names():
        assert KINDS[kind].load(name) is not None


def test_listing_takes_neither_torch_nor_pydantic():
    code = (
        "import sys; from read.plugins import *; STRATEGIES.names(); assert not {'torch', 'pydantic'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@given(st.text(max_size=8), st.lists(st.text(min_size=1, max_size=8), max_size=5))
def test_suggestions_are_of_what_there_is(name, known):
    assert {*nearest(name, known, 3)} <= {*known}
    assert suggest(name, known).startswith(("; did you mean ", "; there are "))
    assert all(choice in none_of(name, known) for choice in known)


def test_suggestions():
    assert nearest("UniVGT", ["univtg", "umt"]) == ["univtg"]
    assert suggest("raed", ["read", "lora"]) == "; did you mean read?"
    assert suggest("xyz", ["read", "lora"]) == "; there are lora, read"
    assert suggest("x", []) == "; there are none"
    assert none_of("cdua", ["cpu", "cuda"]) == "'cdua' is none of cpu, cuda; did you mean cuda?"
    assert none_of(3, ["cpu", "cuda"]) == "3 is none of cpu, cuda"
