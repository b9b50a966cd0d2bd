"""torchvision imports in the environment that `make` builds, in any order, and is left alone where it fits."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tools import fit_torchvision

SCRIPT = Path(fit_torchvision.__file__)


def run(code: str, *flags: str, **options) -> str:
    found = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, **options)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


@pytest.mark.parametrize("first", ["torchvision.ops", "transformers.image_utils", "read, open_clip"])
def test_any_order_of_imports_works(first, tmp_path):
    assert run(f"import {first}; from torchvision.ops import nms; print('fine')", cwd=tmp_path) == "fine"


def test_to_look_for_torchvision_imports_nothing():
    code = "import importlib.util, sys; importlib.util.find_spec('torchvision'); print('torch' in sys.modules)"
    assert run(code) == "False"


def test_import_read_touches_no_finder():
    assert run("import sys; before = [*sys.meta_path]; import read; print(sys.meta_path == before)") == "True"


@pytest.fixture
def site(tmp_path):
    """A folder with a torch and a torchvision that write down what happens to them."""
    (tmp_path / "torch.py").write_text(
        "from types import SimpleNamespace\n"
        "told, ops = [], SimpleNamespace(torchvision=SimpleNamespace(), load_library=lambda path: load(path))\n"
        "def load(path):\n"
        "    if open(path).read() == 'fits': ops.torchvision.nms = ops.torchvision.qnms = None\n"
        "    else: raise OSError('libcudart.so: cannot open shared object file')\n"
        "class Library:\n"
        "    def __init__(self, *names): pass\n"
        "    def define(self, schema): told.append(schema.partition('(')[0])\n"
        "library = SimpleNamespace(Library=Library)\n"
    )
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("import torch\nseen = [*torch.told]\n")
    return tmp_path


@pytest.mark.parametrize("binary, declared", [("fits", "[]"), ("of CUDA", "['nms', 'qnms']")])
def test_operators_are_declared_only_where_the_binary_does_not_load(binary, declared, site):
    (site / "torchvision/_C.so").write_text(binary)
    code = (
        f"import sys; sys.path[:0] = [{str(site)!r}, {str(SCRIPT.parent)!r}]; import fit_torchvision\n"
        "import torchvision; print(torchvision.seen)"
    )
    assert run(code, "-S") == declared


def test_installed_once_it_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    fit_torchvision.install()
    files = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert files.keys() == {"_fit_torchvision.py", "fit_torchvision.pth"}
    assert (tmp_path / "_fit_torchvision.py").read_text() == SCRIPT.read_text()
    fit_torchvision.install()
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
