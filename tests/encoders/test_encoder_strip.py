"""A video at a glance."""

import pytest
from PIL import Image

from read.encoders.strip import write_strip

pytestmark = pytest.mark.video


@pytest.mark.parametrize(("name", "seconds"), [("cup.mp4", 8.1), ("dog.mp4", 1.6)])  # in the second a seek finds nothing
def test_pictures_lie_side_by_side(footage, tmp_path, name, seconds):
    write_strip(footage / "videos" / name, tmp_path / "strip.jpg", seconds, count=4, size=(96, 54))
    with Image.open(tmp_path / "strip.jpg") as strip:
        assert strip.size == (384, 54)
        parts = [strip.crop((96 * i, 0, 96 * i + 96, 54)).convert("L") for i in range(4)]
    assert all(high - low > 50 for low, high in (part.getextrema() for part in parts))
