"""Stage 2: the encoders of feature extraction, with public weights or trained small on the source dataset.

Those that are needed: a package of features stands for the ones that made it.
"""

import argparse
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline import paths
from pipeline.cli import add_settings, run
from pipeline.data import encoder_videos
from pipeline.machine import chosen_device
from pipeline.packed import unpacked
from read.addresses import without_secrets
from read.encoders import tiny
from read.encoders.base import KIND, Material, check_frames, complete, kind_of, reads
from read.encoders.frames import frames_per_clip
from read.encoders.light import import_encoders
from read.encoders.tiny import LabelledSegment, SegmentFootage, load_footage
from read.encoders.weights import CONFIG, WEIGHTS
from read.errors import InputError
from read.files import read_json, read_jsonl, sha256_of, write_json
from read.plugins import ENCODERS

PINNED = {("clip", "openai"), ("pann", "audioset")}  # whose digests are known


def make(entry: str, settings: SimpleNamespace, footage: Path) -> None:
    """Write models/encoders/<entry>/. The source's videos are in `footage`."""
    options = settings.encoders[entry]
    kind = kind_of(entry, options)
    frames = frames_per_clip(settings.extract.fps, settings.clip_len)
    material = Material(lambda size: _footage(settings, size, footage), frames, paths.ENCODERS, chosen_device(), tiny)
    completed, plugin = complete(entry, options), ENCODERS.load(kind)
    if "frames" in reads(entry, options):
        check_frames({entry: plugin.wanted(completed)}, frames)  # before anything is downloaded
    encoder = plugin.make(completed, material)
    if kind != entry:
        encoder.config[KIND] = kind
    encoder.save(paths.ENCODERS / entry)


def _footage(settings: SimpleNamespace, size: int, footage: Path) -> SegmentFootage:
    """The labelled segments of what pretraining may see, in pictures of `size` pixels a side, from `footage`."""
    folder = paths.raw(settings.source)
    videos, seen = read_json(folder / "manifest.json")["videos"], encoder_videos(settings.source, settings)
    segments = [
        LabelledSegment(
            footage / "videos" / videos[row["vid"]]["file"], row["start"], row["end"], row["text"], row["move"]
        )
        for row in read_jsonl(folder / "segments.jsonl")
        if row["vid"] in videos and (seen is None or row["vid"] in seen)
    ]
    if not segments:
        raise InputError(
            f"source {settings.source} has no labelled segments to train small encoders on; "
            "set `pretrained` of every encoder, or use source: montage_source"
        )
    return load_footage(segments, settings.extract.fps, size)


def collect(names: list[str], settings: SimpleNamespace) -> None:
    """List the encoders that are needed, with where their weights are from, and remove those that are not."""
    for folder in paths.ENCODERS.iterdir():
        if folder.is_dir() and folder.name not in names and not folder.name.startswith("."):
            shutil.rmtree(folder)
    found = {}
    for name in names:
        config = read_json(paths.ENCODERS / name / CONFIG)
        found[name] = config | _origin(name, settings.encoders[name], config.get("commit"))
    write_json(paths.ENCODERS / "encoders.json", found)


def _origin(name: str, options: dict[str, Any], commit: str | None) -> dict[str, Any]:
    """Where weights came from, and what came; nobody published a digest of most, so the address alone pins nothing.

    A commit pins what is of a hub; open_clip knows the digests of OpenAI's, and `pann` that of its public weights.
    """
    completed = complete(name, options)
    pretrained = completed.get("pretrained", completed.get("model"))
    if pretrained is None:
        return {"pretrained": None}
    if commit is not None:
        pretrained = f"{pretrained.partition('@')[0]}@{commit}"
    return {
        "pretrained": without_secrets(pretrained),
        "sha256": sha256_of(paths.ENCODERS / name / WEIGHTS),
        "pinned": commit is not None or (kind_of(name, options), pretrained) in PINNED,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["make", "collect"], help="make an encoder, or list those that are needed")
    parser.add_argument("names", nargs="*", help="of encoders, in the order in which their features are joined")
    parser.add_argument("--videos", type=Path, nargs="*", default=[], help="what the source's are packed in")
    add_settings(parser)
    arguments = parser.parse_args()
    if arguments.part == "collect":
        collect(arguments.names, arguments.settings)
        return
    given = arguments.settings.encoders
    import_encoders({entry: complete(entry, options) for entry, options in given.items()})
    with unpacked(arguments.videos, paths.raw(arguments.settings.source)) as footage:
        for name in arguments.names:
            make(name, arguments.settings, footage)


if __name__ == "__main__":
    run(main)
