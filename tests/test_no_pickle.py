"""Nothing that reads a file can run code from it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for top in ("read", "pipeline") for path in (ROOT / top).rglob("*.py"))
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve"}


def faults(tree: ast.AST):
    """Calls that unpickle, or that may, unless told not to."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner, name = ast.unparse(node.func.value), node.func.attr
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if (
            (owner in UNPICKLERS and name in ("load", "loads", "Unpickler", "open"))
            or (owner == "torch" and name == "load" and options.get("weights_only") != "True")
            or options.get("allow_pickle") == "True"
            or (owner == "yaml" and name in ("load", "unsafe_load", "full_load"))
        ):
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_can_run_code(path):
    assert list(faults(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code", ["pickle.load(file)", "torch.load(path)", "np.load(path, allow_pickle=True)", "yaml.load(text, Loader)"]
)
def test_the_test_would_notice(code):
    assert len(list(faults(ast.parse(code)))) == 1
