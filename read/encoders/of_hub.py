"""What encoders have in common that are models of transformers, from a folder or the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from read.encoders.base import Encoder, Material
from read.encoders.hub import public_name


class OfHub(Encoder):
    """An encoder whose `make` asks for a model alone, by its folder or its name on the hub; nothing trains here."""

    @classmethod
    def public(cls, model: str, pretrained: str | None) -> str | None:
        """A name on the hub with its revision; a folder of this machine is nowhere else."""
        return public_name(pretrained)

    @classmethod
    def fetch(cls, identity: Mapping[str, Any], source: str, room: Path) -> Self:
        """As `make`."""
        return cls.make({"model": source}, Material(None, 0, room, "cpu", None))
