"""Try a benchmark's machinery before its data are there: `python -m pipeline.synthetic tvsum`.

Fetches the labels that the dataset's card names, and makes beside it a dataset of its own, `<name>-synthetic`: the same
labels, and in the place of videos a small package of features that are noise, drawn for each file by its name. What
learns from them learns nothing, so all scores are those of chance; the report has a banner that says so.

data/manual/<name>-synthetic.zip         the package, in a layout that benchmarks are published in
data/catalog/<name>-synthetic/card.yaml  its card
"""

import argparse
import hashlib
import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.annotations import fetch_annotations
from pipeline.card import CARD, CATALOG, Card, load_card
from pipeline.cli import run
from pipeline.params import DownloadSettings, Params, load_params
from read.data.annotations import clips_of
from read.data.packages import Form, forms_of
from read.errors import InputError
from read.files import atomic_path, read_jsonl, write_text
from read.plugins import PACKAGE_LAYOUTS

PACKAGES = Path("data/manual")
ENCODERS = ["first", "second"]  # where a layout leaves their names to the card
CLIPS = 30  # of a video whose labels tell no duration
PATHS = ("annotations", "subtitles", "summaries", "transcripts", "file")  # keys of a card whose strings are paths


def make_package(card: Card, params: Params, layout: str, width: int, path: Path) -> tuple[int, int]:
    """Write the package; the numbers of its videos and queries. Raises InputError as the download stage does."""
    form = forms_of(layout, ENCODERS)[0]
    with tempfile.TemporaryDirectory() as room:
        fetch_annotations(card, DownloadSettings.of(params.machine), params.clip_len, Path(room))
        queries, summaries = (
            read_jsonl(Path(room, card.name, file)) for file in ("annotations.jsonl", "summaries.jsonl")
        )
    if queries and form.text is None:
        raise InputError(f"{card.name}: the layout {layout} has no features of queries; take moment_detr")
    clips = {row["vid"]: CLIPS for row in summaries}
    clips |= {row["vid"]: clips_of(row["duration"], params.clip_len) for row in queries}
    with atomic_path(path) as draft, zipfile.ZipFile(draft, "w") as bundle:
        for name, sizes in _files(form, clips, queries).items():
            bundle.writestr(zipfile.ZipInfo(name), _content(name, sizes, width))
    return len(clips), len(queries)


def _files(form: Form, clips: dict[str, int], queries: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """The name of each file -> the key of each of its arrays -> the array's rows."""
    sizes: dict[str, dict[str, int]] = {}
    for vid, count in clips.items():
        for files in form.videos.values():
            sizes.setdefault(files.name(vid=vid), {})[files.key] = count
    for row in queries:
        sizes[form.text.name(qid=row["qid"], vid=row["vid"])] = {form.text.key: len(row["query"].split())}
    return sizes


def _content(name: str, sizes: dict[str, int], width: int) -> bytes:
    """An .npz with arrays under their keys, or an .npy, whose key is "": standard normal, the same for each name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    random = np.random.default_rng(seed)
    noise = {key: random.standard_normal((rows, width)).astype(np.float16) for key, rows in sizes.items()}
    file = io.BytesIO()
    np.savez(file, **noise) if "" not in noise else np.save(file, noise[""])
    return file.getvalue()


def card_text(card: Card, package: str, layout: str, clip_len: float) -> str:
    """The card of the new dataset: that of the old one, without videos."""
    named = {} if PACKAGE_LAYOUTS.constant(layout, "ENCODERS") else {"encoders": ENCODERS}
    values = yaml.safe_load((card.folder / CARD).read_text(encoding="utf-8"))
    values = {key: _moved(key, value, card.name) for key, value in values.items()} | {
        "title": f"{card.title}, synthetic features",
        "instructions": "There are no videos of a synthetic dataset: set features: package in params.yaml.\n",
        "synthetic": True,
        "videos": {"source": "manual", "folder": "videos"},
        "features": {"path": package, "layout": layout, **named, "clip_len": clip_len},
    }
    about = f"# {card.title} with features that are noise, made by `python -m pipeline.synthetic {card.name}`.\n"
    return about + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def _moved(key: str, value: Any, name: str) -> Any:
    """A card's value with its paths as they are seen from a folder beside it."""
    if isinstance(value, list):
        return [_moved(key, part, name) if isinstance(part, dict) else part for part in value]
    if isinstance(value, dict):
        return {inner: _moved(inner, part, name) for inner, part in value.items()}
    return os.path.normpath(Path("..", name, value)) if key in PATHS and isinstance(value, str) else value


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="a folder in data/catalog/")
    parser.add_argument("--layout", choices=PACKAGE_LAYOUTS.names(), default="moment_detr", help="default: %(default)s")
    parser.add_argument("--width", type=int, default=16, help="of each encoder's features (default: %(default)s)")
    arguments = parser.parse_args()
    card, params = load_card(arguments.dataset), load_params()
    layout, name = arguments.layout, f"{card.name}-synthetic"
    package, place = PACKAGES / f"{name}.zip", CATALOG / name
    videos, queries = make_package(card, params, layout, arguments.width, package)
    write_text(place / CARD, card_text(card, os.path.relpath(package, place), layout, params.clip_len))
    print(f"{package}: {videos} videos and {queries} queries in the layout {layout}, all of it noise")
    print(f"{place / CARD}: set `dataset: {name}` and `features: package` in params.yaml, and as")
    print(f"`source` another one with features of this layout and width, or {name} itself with `protocol: transfer`")


if __name__ == "__main__":
    run(main)
