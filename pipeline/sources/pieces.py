"""Of which pieces stitched videos are made; other videos have none. A piece is a file, named by what it shows."""

from pathlib import Path
from typing import Any

from pipeline.card import Card
from read.errors import InputError
from read.files import read_jsonl

LAID = "pieces.jsonl"  # a line a piece, in the order in which they are shown


def pieces_of(card: Card, folder: Path) -> dict[str, list[list[Any]]]:
    """Video -> its pieces, each a file and its seconds. Raises InputError where the annotations have not been made."""
    pieces: dict[str, list[list[Any]]] = {}
    for row in laid_pieces(folder) if card.videos.source == "stitched" else ():
        pieces.setdefault(row["vid"], []).append([row["file"], row["seconds"]])
    return pieces


def laid_pieces(folder: Path) -> list[dict[str, Any]]:
    """The lines of `LAID`. Raises InputError as `pieces_of`."""
    if not (folder / LAID).is_file():
        raise InputError(f"{folder / LAID}: is not there; remove {folder / 'annotations.jsonl'}, which is made with it")
    return read_jsonl(folder / LAID)
