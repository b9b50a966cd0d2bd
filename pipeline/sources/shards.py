"""Which shards a dataset has and what each depends on: fast and without a network, for a workflow to plan by."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pipeline.card import CATALOG, Card, load_card
from read.errors import InputError
from read.files import sha256_of

RAW = Path("data/raw")


def shard_ids(shards: int) -> list[str]:
    """Names of the shards, in order."""
    return [f"{number:03d}" for number in range(shards)]


def shard_of(vid: str, shards: int) -> str:
    """The shard that a video belongs to."""
    return f"{int(hashlib.sha1(vid.encode()).hexdigest(), 16) % shards:03d}"


def dataset_videos(card: Card, raw: Path = RAW) -> list[str]:
    """Ids of a dataset's videos, sorted.

    Raises:
        InputError: the annotation file is absent or not downloaded yet, or a line of it is no JSON object with a `vid`.
    """
    if card.videos.source == "montage":
        from pipeline.sources.montage.scenes import video_ids

        return sorted(video_ids(card.videos.domain, card.videos.train, card.videos.test))
    return annotated_videos(card.annotation_file or raw / card.name / "annotations.jsonl")


def shard_digests(dataset: str, shards: int, catalog: Path = CATALOG) -> dict[str, str]:
    """For each shard a digest of what its content depends on: its videos' ids and where they come from.

    Annotations that have to be downloaded count by their pinned digest, so that the plan is the same before and after.
    """
    card = load_card(dataset, catalog)
    origin = card.videos.model_dump(exclude={"mirror", "train", "test"})
    if card.videos.sha256 is not None and card.path(card.videos.sha256).is_file():
        origin["sha256"] = sha256_of(card.path(card.videos.sha256))
    if card.has_remote_annotations:
        vids, origin["annotations"] = [], card.queries.sha256
    else:
        vids = dataset_videos(card)
    members: dict[str, list[str]] = {shard: [] for shard in shard_ids(shards)}
    for vid in vids:
        members[shard_of(vid, shards)].append(vid)
    return {shard: digest([origin, shards, members[shard]]) for shard in members}


def annotated_videos(path: Path) -> list[str]:
    """Ids of the videos in a file of annotations, sorted. Raises InputError as `dataset_videos`."""
    if not path.is_file():
        raise InputError(f"{path}: no such annotation file")
    vids = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            if line.strip():
                vids.add(str(json.loads(line)["vid"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}:{number}: not a JSON object with a vid ({error!r})") from None
    return sorted(vids)


def digest(value: Any) -> str:
    """A short digest of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
