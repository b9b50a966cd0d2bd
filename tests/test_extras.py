"""A package that an extra brings is missed by the extra's name, wherever it is first needed."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from read.errors import EXTRAS, InputError, MissingPackageError, optional_imports

ROOT = Path(__file__).parents[1]
SERVED = (ROOT / "read/app", ROOT / "read/studio")  # imported by their `serve`, which looks for the packages first
FILES = [
    path for path in sorted((ROOT / "read").rglob("*.py")) if path.parent not in SERVED or path.name == "__init__.py"
]
CORE = {"torch", "numpy", "safetensors", "ot", "scipy", "tqdm", "read", *sys.stdlib_module_names}


def unguarded(tree: ast.AST) -> list[str]:
    """Imports of packages beyond the core that are not under `optional_imports`, nor tried, nor for types only."""
    guarded = set()
    for node in ast.walk(tree):
        names = [ast.unparse(item.context_expr) for item in node.items] if isinstance(node, ast.With) else []
        types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        named = any(name.startswith(("optional_imports()", "suppress(ImportError")) for name in names)
        if named or types or isinstance(node, ast.Try):
            guarded |= {id(inner) for inner in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in guarded:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            found += [ast.unparse(node) for module in modules if module and module.split(".")[0] not in CORE]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_an_extra_brings_is_imported_as_such(path):
    assert unguarded(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("code", ["import ffmpeg", "def f():\n    from transformers.models import x"])
def test_the_test_would_notice(code):
    assert len(unguarded(ast.parse(code))) == 1


def test_the_core_is_what_is_always_installed():
    listed = " ".join(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    packages = CORE - {"read", *sys.stdlib_module_names}
    assert all({"ot": "pot"}.get(name, name) in listed for name in packages)


@pytest.mark.parametrize(
    "package, use",
    [
        ("ffmpeg", "read.Predictor"),
        ("open_clip", "import read.encoders.kinds.clip"),
        ("peft", "read.apply_strategy('lora', torch.nn.Linear(2, 2))"),
        ("transformers", "read.VisualGuidance.from_pretrained('facebook/bart-base', video_dim=2)"),
        ("nltk", "import read.metrics.summarization"),
    ],
)
def test_what_is_missing_is_named(package, use):
    code = f"import sys; sys.modules[{package!r}] = None; import read, torch\n{use}"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    wanted = f"the package {package} is not installed: pip install 'read-adapters[{EXTRAS[package]}]'"
    assert found.returncode == 1 and wanted in found.stderr.splitlines()[-1]


def test_it_is_bad_input_and_an_import_that_failed():
    with pytest.raises(InputError) as caught, optional_imports(), optional_imports():
        import sacrebleu.nothing_of_this_name  # noqa: F401
    assert isinstance(caught.value, ModuleNotFoundError) and isinstance(caught.value, MissingPackageError)
    assert caught.value.name == "sacrebleu.nothing_of_this_name"
