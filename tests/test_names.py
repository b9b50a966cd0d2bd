"""A public name means one thing: no two classes are called the same."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def defined(tree: ast.Module):
    """The public classes of a module, and its names for types, each with whether it is a class."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, True
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name[0].isupper() and not name.isupper():
                yield name, False


def clashes(sources: dict[str, str]) -> dict[str, list[str]]:
    """Names of classes that more than one place defines. Two names for the same plain type may be equal."""
    places, classes = defaultdict(list), set()
    for place, source in sources.items():
        for name, is_class in defined(ast.parse(source)):
            if not name.startswith("_"):
                places[name].append(place)
                classes |= {name} if is_class else set()
    return {name: found for name, found in places.items() if len(found) > 1 and name in classes}


def test_no_two_public_classes_have_one_name():
    files = sorted(path for top in ("read", "pipeline") for path in (ROOT / top).rglob("*.py"))
    assert clashes({str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}) == {}


def test_the_test_would_notice():
    row, also, type_of_row = "class Row: pass", "class Row: pass", "Row = dict[str, int]"
    assert clashes({"a": row, "b": also}) == {"Row": ["a", "b"]} == clashes({"a": row, "b": type_of_row})
    assert clashes({"a": type_of_row, "b": type_of_row, "c": "class _Row: pass", "d": "class _Row: pass"}) == {}
