"""Fixtures for tests that name this file as a plugin: a workspace of small models, its bundle, and videos."""

from pathlib import Path

import numpy as np
import pytest

from read.bundle import export
from read.encoders.frames import write_video
from read.files import write_text
from tests.bundles import RUNS, folder_of, make_workspace


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Path:
    """A workspace; nobody changes it."""
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="session")
def packed(workspace, tmp_path_factory) -> Path:
    """A bundle of all its runs; nobody changes it."""
    runs = [folder_of(workspace, run, task) for task in RUNS for run in RUNS[task]]
    return export(runs, tmp_path_factory.mktemp("bundles") / "toys").folder


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """`short.mp4` of 0.2 s, `party.mp4` of 9.5 s, `größe Ü.mp4` of 5 s, and `text.mp4`, which is none."""
    folder, generator = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    for name, frames, fps in (("short", 5, 25), ("party", 76, 8), ("größe Ü", 40, 8)):
        coarse = generator.integers(0, 255, (frames, 6, 8, 3), dtype=np.uint8)
        write_video(folder / f"{name}.mp4", coarse.repeat(12, 1).repeat(12, 2), fps)
    write_text(folder / "text.mp4", "this is no video")
    return folder
