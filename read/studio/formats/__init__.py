"""Forms in which labels come and go: each is a file of this folder, whose stem is its name."""

from read.plugins import LABEL_FORMATS
from read.studio.formats._form import LabelForm

__all__ = ["FORMATS", "LabelForm"]

FORMATS: dict[str, LabelForm] = {name: LABEL_FORMATS.load(name) for name in LABEL_FORMATS.names()}
