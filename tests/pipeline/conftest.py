"""A finished run of the tiny project, and copies of it."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.tiny import ROOT, Project, make_project

__all__ = ["ROOT"]


@pytest.fixture(scope="session")
def _finished(tmp_path_factory) -> Project:
    """One complete run by Snakemake, shared by all worker processes; `finished` in git, and pushed to a DVC remote."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first worker makes it, the others wait
        if not (shared / "project").exists():
            project = make_project(shared / "project")
            (shared / "log").write_text(project.snakemake())
            project.commit("finished")
            project.dvc("push", "--quiet")
            (shared / "complete").touch()
    assert (shared / "complete").exists(), "the complete run failed in another worker"
    return Project(shared / "project")


@pytest.fixture
def project(_finished: Project, tmp_path: Path):
    """A copy of a project after a complete run, records and times included."""
    yield _copy(_finished, tmp_path / "project")
    shutil.rmtree(tmp_path / "project", ignore_errors=True)


@pytest.fixture(scope="module")
def planning(_finished: Project, tmp_path_factory):
    """The same, one for all tests of a module that only plan; each puts params and code back."""
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
