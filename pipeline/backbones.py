"""The `backbone` of params.yaml: whether there is one of that name, told without importing torch."""

import difflib
import re
from pathlib import Path

import read
from read.errors import InputError

FOLDER = Path(read.__file__).parent / "backbones"


def known_backbones() -> list[str]:
    """Names of the backbones, as their classes say them."""
    texts = (path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.py"))
    return sorted(name for text in texts for name in re.findall(r'^class \w+\(\w+, name="(\w+)"\)', text, re.MULTILINE))


def check_backbone(backbone: str, name: str = "params.yaml") -> None:
    """Raise InputError for a name that no backbone has."""
    known = known_backbones()
    if backbone not in known:
        near = difflib.get_close_matches(backbone, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise InputError(f"{name}: backbone.grounding: no backbone {backbone!r}; {hint}")
