"""Which shards a dataset has and what each depends on: fast and without a network, for a workflow to plan by."""

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.card import CATALOG, Card, load_card, subtitle_files
from pipeline.card_file import MADE
from pipeline.paths import RAW
from read.errors import InputError
from read.files import digest_of, read_json, sha256_of, write_json
from read.rows import parse_lines, require, vid_of

PLANNED = Path(".snakemake/shards")  # the digests of each dataset's shards, and what they were found of
SETTLED = 2.0  # seconds after its last change from which on another change gives a file another time


def shard_ids(shards: int) -> list[str]:
    """Names of the shards, in order."""
    return [f"{number:03d}" for number in range(shards)]


def shard_of(vid: str, shards: int) -> str:
    """The shard that a video belongs to."""
    return f"{int(hashlib.sha1(vid.encode()).hexdigest(), 16) % shards:03d}"


def dataset_videos(card: Card, raw: Path = RAW) -> list[str]:
    """Ids of a dataset's videos, those of its queries and of its summaries, sorted.

    Raises:
        InputError: a file of labels is absent or not downloaded yet, or a line of it is no JSON object with a `vid`.
    """
    if card.videos.source == "montage":
        from pipeline.sources.montage.scenes import video_ids

        return sorted(video_ids(card.videos.domain, card.videos.train, card.videos.test))
    if card.videos.source == "stitched":
        from pipeline.sources.stitched import plan

        return sorted(plan.video_ids(card.videos))
    return labelled_videos(
        card.path(origin) if isinstance(origin, str) else raw / card.name / name for name, origin in card.labels.items()
    )


def shard_digests(dataset: str, shards: int, catalog: Path = CATALOG) -> dict[str, str]:
    """For each shard a digest of what its content depends on: its videos' ids and where they come from.

    Labels that have to be downloaded or converted count by their files' digests, so that the plan is the same before
    and after.
    """
    card = load_card(dataset, catalog)
    counts = {"train", "test"} if card.videos.source == "montage" else set()
    origin = card.videos.model_dump(exclude={"mirror"} | counts)
    if card.videos.sha256 is not None and card.path(card.videos.sha256).is_file():
        origin["sha256"] = sha256_of(card.path(card.videos.sha256))
    if card.features is not None:
        origin["features"] = card.features.model_dump()
    if card.videos.captions is not None and card.path(card.videos.captions).is_file():
        origin["captions"] = sha256_of(card.path(card.videos.captions))
    if card.videos.source in MADE:
        vids = dataset_videos(card)
    else:
        vids = labelled_videos(card.path(path) for path in card.labels.values() if isinstance(path, str))
        pinned = {name: card.pinned(labels) for name, labels in card.labels.items() if not isinstance(labels, str)}
        origin |= {Path(name).stem: digests for name, digests in pinned.items()}
    members: dict[str, list[str]] = {shard: [] for shard in shard_ids(shards)}
    for vid in vids:
        members[shard_of(vid, shards)].append(vid)
    return {shard: digest_of([origin, shards, members[shard]]) for shard in members}


def planned_digests(
    dataset: str, shards: int, code: str, catalog: Path = CATALOG, *, keep: bool = True
) -> dict[str, str]:
    """`shard_digests`, or what they were when the card and the files that it names were as they are.

    Every job of a workflow that runs elsewhere reads the workflow anew, and to read labels takes seconds where they are
    many.

    Args:
        dataset: a folder of the catalog.
        shards: how many there are.
        code: a digest of what makes them.
        catalog: the folder of cards.
        keep: write down what was found, for those that read the workflow next; a plan writes nothing.
    """
    files = load_card(dataset, catalog).files
    if not all(path.is_file() for path in files):
        return shard_digests(dataset, shards, catalog)
    stats = [(path.as_posix(), path.stat()) for path in files]
    state = [[path, stat.st_ino, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
    of, place = digest_of([state, shards, code]), PLANNED / f"{dataset}.json"
    if place.is_file() and (found := read_json(place))["of"] == of:
        return found["digests"]
    digests = shard_digests(dataset, shards, catalog)
    if keep and time.time() - max(stat.st_mtime for _, stat in stats) > SETTLED:
        write_json(place, {"of": of, "digests": digests})
    return digests


def labelled_videos(paths: Iterable[Path]) -> list[str]:
    """Ids of the videos in files of queries, summaries or captions and in folders of subtitles, sorted.

    Raises:
        InputError: as `dataset_videos`.
    """
    vids: set[str] = set()
    for path in paths:
        if path.is_dir():
            vids |= {vid_of(file.stem, f"{file}: video") for file in subtitle_files(path)}
            continue
        if not path.is_file():
            raise InputError(f"{path}: no such annotation file")
        vids |= set(parse_lines(path, _vid))
    return sorted(vids)


def _vid(row: dict[str, Any], number: int) -> str:
    require(row, ["vid"])
    return vid_of(row["vid"], "vid")


def within_tolerance(dataset: str, tolerance: float, raw: Path = RAW) -> bool:
    """Whether no larger share of a dataset's videos is missing by its manifest, if there is one.

    What the manifest's job depends on of the tolerance: it need not run again for another one that still holds.
    """
    path = raw / dataset / "manifest.json"
    if not path.is_file():
        return True
    listed = read_json(path)
    missing = len(listed["missing"])
    return missing <= tolerance * (missing + len(listed.get("features") or listed["videos"]))
