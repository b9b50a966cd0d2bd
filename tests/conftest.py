"""Fixtures that every test may use."""

import os
import random
import sys
import zlib
from pathlib import Path

import hypothesis
import pytest

# The same examples each time, and a slow machine fails no test.
slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("any machine", deadline=None, derandomize=True, suppress_health_check=slow)
hypothesis.settings.load_profile("any machine")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker per core: more threads would wait for each other

os.environ.setdefault("HF_HUB_OFFLINE", "1")
SHARED = Path(__file__).parents[2] / "shared"


def pytest_collection_modifyitems(items):
    """Skip tests for a GPU where there is none, and begin with the longest: those that share a finished run."""
    items.sort(key=lambda item: "_finished" not in item.fixturenames)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    """Each fixture draws the same numbers, whatever ran before it: workers share out tests otherwise each time."""
    _seed(fixturedef.argname)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    """So does each test, and others than its fixtures."""
    _seed(item.nodeid)


def _seed(name: str) -> None:
    seed = zlib.crc32(name.encode())
    random.seed(seed)
    if "torch" in sys.modules:  # not imported for tests that need none
        sys.modules["torch"].manual_seed(seed)


@pytest.fixture
def quick_turns():
    """Threads take turns after few lines."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real clips and public annotation files beside the checkout; the test is skipped where they are absent."""
    if not SHARED.is_dir():
        pytest.skip("no folder ../shared with real files")
    return SHARED


@pytest.fixture(scope="session")
def footage(shared: Path) -> Path:
    """Nine real clips with hand-labelled queries."""
    return shared / "footage"


@pytest.fixture(scope="session")
def mirror(shared: Path) -> Path:
    """Public annotation and prediction files."""
    return shared / "mirror"
