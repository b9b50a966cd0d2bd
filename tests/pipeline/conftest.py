"""A finished run of the tiny project, and copies of it."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.tiny import ROOT, Project, make_project

__all__ = ["ROOT"]
# Params by which much shows just as well.
HALF = {"task": ["grounding"], "strategies": {"read": {}}, "download.shards": 1}


@pytest.fixture(scope="session")
def _finished(tmp_path_factory) -> Project:
    """One complete run by Snakemake, shared by all worker processes; `finished` in git, and pushed to a DVC remote."""

    def make(folder: Path) -> None:
        project = make_project(folder)
        (folder.parent / "log").write_text(project.snakemake())
        project.commit("finished")
        project.dvc("push", "--quiet")

    return _shared(tmp_path_factory, "finished", make)


@pytest.fixture(scope="session")
def _repro(_finished: Project, tmp_path_factory) -> Project:
    """A clean clone with half of the work, made by DVC; it is `start` before that, and `half` after it."""

    def make(folder: Path) -> None:
        project = _finished.clone(folder, "start")
        project.edit(HALF)
        project.commit("start of half")
        project.git("tag", "--force", "start")
        project.dvc("repro")
        project.commit("half")

    return _shared(tmp_path_factory, "repro", make)


@pytest.fixture(scope="session")
def _half(_repro: Project, tmp_path_factory) -> Project:
    """The same after Snakemake has taken what DVC made as done."""

    def make(folder: Path) -> None:
        assert "Nothing to be done" in _copy(_repro, folder).snakemake()

    return _shared(tmp_path_factory, "half", make)


def _shared(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Project:
    """A project that the first worker process to ask for it makes; the others wait."""
    base = tmp_path_factory.getbasetemp()
    room = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    room.mkdir(exist_ok=True)
    with (room / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (room / "project").exists():
            make(room / "project")
            (room / "complete").touch()
    assert (room / "complete").exists(), f"{name} failed in another worker"
    return Project(room / "project")


@pytest.fixture
def project(_finished: Project, tmp_path: Path):
    """A copy of a project after a complete run, records and times included."""
    yield _copy(_finished, tmp_path / "project")
    shutil.rmtree(tmp_path / "project", ignore_errors=True)


@pytest.fixture
def half(_half: Project, tmp_path: Path):
    """The same of one task and one strategy: each run takes half of the time."""
    yield _copy(_half, tmp_path / "project")
    shutil.rmtree(tmp_path / "project", ignore_errors=True)


@pytest.fixture(scope="module")
def planning(_finished: Project, tmp_path_factory):
    """The whole project, one for all tests of a module that only plan; each puts params and code back."""
    yield _copy(_finished, tmp_path_factory.mktemp("planning") / "project")


@pytest.fixture
def clone(_finished: Project, tmp_path: Path):
    """Makes a fresh clone at a commit: `start` or `finished`."""
    yield lambda commit="HEAD": _finished.clone(tmp_path / "clone", commit)
    shutil.rmtree(tmp_path / "clone", ignore_errors=True)


@pytest.fixture(scope="module")
def fresh_project(tmp_path_factory) -> Project:
    """A project that has never run, one for all tests of a module; each puts back what it changes."""
    return make_project(tmp_path_factory.mktemp("fresh") / "project")


def _copy(original: Project, folder: Path) -> Project:
    subprocess.run(["cp", "-a", "--reflink=auto", original.folder, folder], check=True)
    return Project(folder)
