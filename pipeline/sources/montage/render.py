"""From a scene to frames: a view of the photograph, cut out with sub-pixel exactness, moves over it."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from pipeline.sources.montage.scenes import FPS, Scene, SceneSegment
from pipeline.sources.montage.subjects import SIZE, photograph

FRAME = (128, 96)  # width, height
NEAR, FAR = 0.5, 0.95  # width of the view at the ends of a zoom, as a share of the photograph's
TINTS = {"source": (1.0, 1.0, 1.0), "target": (1.1, 0.95, 0.7)}  # gains of red, green and blue: the target is warm


def frames(scene: Scene) -> Iterator[np.ndarray]:
    """The frames of a video, uint8 (height, width, 3)."""
    for segment in scene.segments:
        image = tinted(photograph(segment.subject), TINTS[scene.domain])
        count = round((segment.end - segment.start) * FPS)
        for number in range(count):
            progress = number / (count - 1)
            frame = np.asarray(image.resize(FRAME, Image.Resampling.BILINEAR, box=view(segment, progress)))
            yield darkened(frame, progress) if segment.move == "fade" else frame


def view(segment: SceneSegment, progress: float) -> tuple[float, float, float, float]:
    """The box of the photograph, in its pixels, that is seen after a share `progress` of the segment."""
    width, x, y = segment.framing
    share = NEAR + 0.15 * width  # a pan goes from edge to edge, so a narrow view moves far
    match segment.move:
        case "pan_left":
            x = 1 - progress
        case "pan_right":
            x = progress
        case "pan_up":
            y = 1 - progress
        case "pan_down":
            y = progress
        case "zoom_in":
            share = FAR * (NEAR / FAR) ** progress
        case "zoom_out":
            share = NEAR * (FAR / NEAR) ** progress
    wide, high = share * SIZE[0], share * SIZE[1]
    left, top = x * (SIZE[0] - wide), y * (SIZE[1] - high)
    return left, top, left + wide, top + high


def tinted(image: Image.Image, gains: tuple[float, float, float]) -> Image.Image:
    """The image with its colours multiplied."""
    return image.point([min(255, round(value * gain)) for gain in gains for value in range(256)])


def darkened(frame: np.ndarray, progress: float) -> np.ndarray:
    """A frame on its way to black."""
    return (frame * (1 - progress)).astype(np.uint8)
