"""The photographs of the montage: they ship inside the scikit-image package, so nothing is downloaded."""

from functools import cache

import numpy as np
from PIL import Image

SIZE = (256, 192)  # width, height: twice a frame, so that the closest view is still as sharp as the photograph

# subject -> name of its function in skimage.data
PHOTOGRAPHS = {
    "astronaut": "astronaut",
    "bricks": "brick",
    "cat": "chelsea",
    "clock": "clock",
    "coffee": "coffee",
    "coins": "coins",
    "galaxies": "hubble_deep_field",
    "grass": "grass",
    "gravel": "gravel",
    "handwriting": "text",
    "horse": "horse",
    "moon": "moon",
    "motorcycle": "stereo_motorcycle",
    "page": "page",
    "photographer": "camera",
    "retina": "retina",
    "rocket": "rocket",
    "tissue": "immunohistochemistry",
}


@cache
def photograph(subject: str) -> Image.Image:
    """The photograph of a subject as RGB, its middle cut to the shape of a frame and resized to SIZE."""
    from skimage import data

    pixels = getattr(data, PHOTOGRAPHS[subject])()
    if isinstance(pixels, tuple):  # a stereo pair and its disparities
        pixels = pixels[0]
    if pixels.dtype == bool:  # a silhouette
        pixels = np.uint8(255) * pixels
    image = Image.fromarray(pixels).convert("RGB")
    width = min(image.width, image.height * SIZE[0] / SIZE[1])
    height = width * SIZE[1] / SIZE[0]
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return image.resize(SIZE, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))
