"""A folder of videos, and its studio."""

import shutil

import pytest

pytest.importorskip("starlette")

from tests.app.fake import make_video
from tests.studio.fake import Labeller, serving


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """12 s, bright from 6 s to 8 s."""
    return make_video(tmp_path_factory.mktemp("videos") / "stripe.mp4")


@pytest.fixture(scope="session")
def videos(tmp_path_factory, clip):
    """A folder of three videos, with a name that is none of a path's friends and a long one, and one that is broken."""
    folder = tmp_path_factory.mktemp("my videos")
    for name in ("walk.mp4", "dog & cat 100% (1).mp4", f"träume' {'a' * 170}.mp4"):
        shutil.copy(clip, folder / name)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def served(videos, tmp_path_factory):
    """(address, studio) that the tests of a module share."""
    with serving(videos, tmp_path_factory.mktemp("working")) as found:
        yield found


@pytest.fixture
def card(studio):
    """The folder of its labels."""
    return studio.labels.folder


@pytest.fixture
def studio(served):
    return served[1]


@pytest.fixture
def labeller(served):
    """Somebody, in a studio without labels."""
    with Labeller(served[0]) as found:
        for label in found.labels():
            found.delete(f"/api/labels/{label['qid']}", params={"rev": label["rev"]})
        yield found
