"""Bundles and adapters to the Hugging Face hub."""

import json
from pathlib import Path
from typing import Any

from read.bundle.card import table
from read.bundle.folder import ADAPTER, CARD, CONFIG, PLACES, Bundle
from read.errors import InputError
from read.hub import pushed
from read.weights import shapes_in

LICENCE = "LICENSE"


def push(folder: str | Path, name: str, *, private: bool = False) -> str:
    """Push a bundle or an adapter's folder to the hub, as one commit, after a check.

    A bundle goes with its model card; an adapter gets one that says how it is loaded, unless the repository has one.
    What an earlier push has left there and is not of this one is deleted.

    Args:
        folder: a bundle, or what `read.save_adapter` wrote.
        name: `owner/name`; the repository is made where there is none.
        private: none but its owner may read it.

    Returns:
        The repository's address.

    Raises:
        InputError: the folder is neither, or damaged; the name is none; the hub refuses or cannot be reached.
    """
    folder = Path(folder)
    if (folder / CONFIG).is_file():
        bundle = Bundle.open(folder)
        files = {*bundle.config["files"], CONFIG, *(file for file in (CARD, LICENCE) if (folder / file).is_file())}
        return pushed(folder, name, files, private=private, ours=lambda file: PLACES.fullmatch(file) is not None)
    if not (folder / ADAPTER[1]).is_file():
        raise InputError(f"{folder}: neither a bundle nor an adapter that save_adapter wrote; it has no {ADAPTER[1]}")
    from read.adapters.io import adapter_config

    values, shapes = adapter_config(folder), shapes_in(folder / ADAPTER[0])
    made = {CARD: _card(name, values, sum(shape.numel() for shape in shapes.values()))}
    return pushed(folder, name, ADAPTER, private=private, made=made)


def _card(name: str, values: dict[str, Any], count: int) -> str:
    """The model card of an adapter."""
    front = json.dumps({"library_name": "read-adapters", "tags": ["read-adapters", "adapter"]}, indent=2)
    about = {
        "strategy": values["strategy"] or "inject",
        "parameters": count,
        "backbone, digest": values["backbone"][:12],
    }
    options = table(values["options"])
    return f"---\n{front}\n---\n\n# {name}\n\n{_USE.format(name=name)}\n\n{table(about)}\n\nOptions:\n\n{options}\n"


_USE = """An adapter made with READ (`pip install read-adapters`), for the backbone that it was trained with:

```python
import read

read.load_adapter(model, "{name}")
```"""
