"""Stage 2: the encoders of feature extraction, with public weights or trained small on the source dataset.

Those that are needed: a package of features stands for the ones that made it.
"""

import argparse
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from pipeline import paths
from pipeline.cli import add_settings, run
from pipeline.data import encoder_videos
from pipeline.machine import chosen_device
from read.addresses import without_secrets
from read.encoders.frames import frames_per_clip
from read.encoders.light import import_encoders
from read.encoders.tiny import Footage, LabelledSegment, load_footage, train_clip, train_slowfast
from read.encoders.weights import CONFIG, WEIGHTS
from read.errors import InputError
from read.files import read_json, read_jsonl, sha256_of, write_json


def make_clip(settings: SimpleNamespace) -> None:
    """Write models/encoders/clip/."""
    from read.encoders.kinds.clip import TINY, Clip

    wanted, device = settings.encoders.clip, chosen_device()
    if wanted.pretrained is not None:
        clip = Clip.pretrained(wanted.model, wanted.pretrained, device)
    elif wanted.model == TINY:
        clip = train_clip(_footage(settings), steps=wanted.steps, seed=settings.encoders.seed, device=device)
    else:
        raise InputError(f"params.yaml: encoders.clip.pretrained: is null, but only {TINY} is trained here")
    clip.save(paths.ENCODERS / "clip")


def make_slowfast(settings: SimpleNamespace) -> None:
    """Write models/encoders/slowfast/."""
    from read.encoders.kinds.slowfast import KINETICS, KINETICS_URL, SlowFast
    from read.encoders.weights import download

    wanted, device = settings.encoders.slowfast, chosen_device()
    count = frames_per_clip(settings.extract.fps, settings.clip_len)
    if wanted.pretrained is None:
        seed = settings.encoders.seed
        slowfast = train_slowfast(_footage(settings), count, steps=wanted.steps, seed=seed, device=device)
    else:
        SlowFast.create(KINETICS).check_frames(count)  # before 130 MB are downloaded
        checkpoint = KINETICS_URL if wanted.pretrained == "kinetics" else wanted.pretrained
        if checkpoint.startswith(("http://", "https://")):
            checkpoint = download(checkpoint, paths.ENCODERS / Path(urlsplit(checkpoint).path).name)
        slowfast = SlowFast.pretrained(checkpoint, device)
    slowfast.save(paths.ENCODERS / "slowfast")


def _footage(settings: SimpleNamespace) -> Footage:
    """The labelled segments of what pretraining may see, in the size of frames that the CLIP model takes."""
    from read.encoders.kinds.clip import frame_size

    folder = paths.raw(settings.source)
    videos, seen = read_json(folder / "manifest.json")["videos"], encoder_videos(settings.source, settings)
    segments = [
        LabelledSegment(
            folder / "videos" / videos[row["vid"]]["file"], row["start"], row["end"], row["text"], row["move"]
        )
        for row in read_jsonl(folder / "segments.jsonl")
        if row["vid"] in videos and (seen is None or row["vid"] in seen)
    ]
    if not segments:
        raise InputError(
            f"source {settings.source} has no labelled segments to train small encoders on; "
            "set encoders.clip.pretrained and encoders.slowfast.pretrained, or use source: montage_source"
        )
    return load_footage(segments, settings.extract.fps, frame_size(settings.encoders.clip.model))


MAKERS = {"clip": make_clip, "slowfast": make_slowfast}


def collect(names: list[str], settings: SimpleNamespace) -> None:
    """List the encoders that are needed, with where their weights are from, and remove those that are not."""
    for name in MAKERS.keys() - set(names):
        shutil.rmtree(paths.ENCODERS / name, ignore_errors=True)
    found = {}
    for name in names:
        found[name] = read_json(paths.ENCODERS / name / CONFIG) | _origin(name, settings)
    write_json(paths.ENCODERS / "encoders.json", found)


def _origin(name: str, settings: SimpleNamespace) -> dict[str, Any]:
    """Where weights came from, and what came; nobody published a digest of most, so the address alone pins nothing."""
    pretrained = getattr(settings.encoders, name).pretrained
    if pretrained is None:
        return {"pretrained": None}
    return {
        "pretrained": without_secrets(pretrained),
        "sha256": sha256_of(paths.ENCODERS / name / WEIGHTS),
        "pinned": name == "clip" and pretrained == "openai",  # open_clip knows the digests of these
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*MAKERS, "collect"], help="an encoder, or the list of those that are needed")
    parser.add_argument("needed", nargs="*", help="names of encoders; with `collect`")
    add_settings(parser)
    arguments = parser.parse_args()
    if arguments.part == "collect":
        collect(arguments.needed, arguments.settings)
    else:
        import_encoders(arguments.settings.encoders.clip.model)
        MAKERS[arguments.part](arguments.settings)


if __name__ == "__main__":
    run(main)
