"""Videos, and the page with a predictor that needs no models."""

import pytest

pytest.importorskip("starlette")

from tests.app.fake import FakePredictor, Person, end_all_visits, make_video, serving


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """12 s, bright from 6 s to 8 s."""
    return make_video(tmp_path_factory.mktemp("videos") / "stripe.mp4")


@pytest.fixture(scope="module")
def served():
    """(address, site) of a page that the tests of a module share, each with visits of its own."""
    with serving(FakePredictor()) as found:
        yield found


@pytest.fixture
def page(served):
    """(address, site), empty at first."""
    yield served
    served[1].predictor.gate.set()
    end_all_visits(served[1])


@pytest.fixture
def site(page):
    return page[1]


@pytest.fixture
def person(page):
    with Person(page[0]) as found:
        yield found


@pytest.fixture
def other(page):
    """Somebody else."""
    with Person(page[0]) as found:
        yield found
