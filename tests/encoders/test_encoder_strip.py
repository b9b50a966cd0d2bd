"""A video at a glance."""

import pytest
from PIL import Image

from read.encoders.strip import write_strip

pytestmark = pytest.mark.video


@pytest.mark.parametrize(
    ("name", "seconds"), [("cup.mp4", 8.1), ("dog.mp4", 1.6)]
)  # the second's last part has no frame
def test_pictures_lie_side_by_side(footage, tmp_path, name, seconds):
    write_strip(footage / "videos" / name, tmp_path / "strip.jpg", seconds, size=(32, 18))
    with Image.open(tmp_path / "strip.jpg") as strip:
        assert strip.size == (8 * 32, 18)
        parts = [strip.crop((32 * i, 0, 32 * i + 32, 18)).convert("L") for i in range(8)]
    assert all(high - low > 50 for low, high in (part.getextrema() for part in parts))
