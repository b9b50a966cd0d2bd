"""A video at a glance."""

import numpy as np
import pytest
from PIL import Image

from read.encoders.frames import write_video
from read.encoders.strip import write_strip

pytestmark = pytest.mark.video


@pytest.mark.parametrize("told", [8.0, 8.6], ids=["as long as it is", "its last part has no frame"])
def test_pictures_lie_side_by_side(tmp_path, told):
    greys = (np.full((90, 160, 3), 28 * int(second), np.uint8) for second in np.arange(0, 8, 0.1))
    write_video(tmp_path / "grey.mp4", greys, fps=10)
    write_strip(tmp_path / "grey.mp4", tmp_path / "strip.jpg", told, size=(32, 18))
    with Image.open(tmp_path / "strip.jpg") as strip:
        assert strip.size == (8 * 32, 18)
        middles = [strip.convert("L").getpixel((32 * i + 16, 9)) for i in range(7)]
    assert middles == pytest.approx([28 * i for i in range(7)], abs=32)
