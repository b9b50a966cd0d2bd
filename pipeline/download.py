"""Stage 1, download: a dataset's annotations and raw videos, into data/raw/<dataset>/.

annotations.jsonl    the dataset's queries, checked; empty where it has summaries only
segments.jsonl       labelled segments, by which small encoders learn; empty where a dataset has none
summaries.jsonl      a transcript and a summary per video, checked; empty likewise
videos/<vid>.<ext>   the videos
shards/<NNN>.json    what one shard has, with sizes and digests, and what it lacks, with reasons
manifest.json        the same for the whole dataset

A shard is the videos whose ids hash to it, so that a new video touches no other shard.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.card import Card, Remote, load_card
from pipeline.cli import add_settings, run
from pipeline.params import Download
from pipeline.sources import Source, UnavailableError, make_sources, mirror_folders
from pipeline.sources.base import exclusive
from pipeline.sources.shards import RAW, dataset_videos, labelled_videos, shard_ids, shard_of
from read.errors import InputError
from read.files import atomic_path, read_json, sha256_of, write_json, write_jsonl

SHOWN = 10  # missing videos named in a message


def fetch_annotations(card: Card, download: Download, clip_len: float, raw: Path = RAW) -> None:
    """Write the dataset's queries and summaries: made, copied or downloaded, and checked.

    A dataset without queries gets an empty annotations.jsonl; a stage that needs queries says that it holds none.

    Raises:
        InputError: they have mistakes, or cannot be had.
    """
    folder = raw / card.name
    if card.videos.source == "montage":
        _make_annotations(card, clip_len, folder)
        return
    write_jsonl(folder / "segments.jsonl", [])
    write_jsonl(folder / "summaries.jsonl", _summary_rows(card, download, folder) if card.summaries else [])
    with atomic_path(folder / "annotations.jsonl") as draft:
        if card.queries:
            _write_queries(draft, card, download, clip_len)
        else:
            draft.touch()


def _write_queries(draft: Path, card: Card, download: Download, clip_len: float) -> None:
    from read.data.annotations import load_annotations
    from read.data.subtitles import caption_rows, load_captions

    with _at_hand(card.queries, "annotations", card, download, draft.parent) as file:
        if card.subtitles is not None:
            rows = caption_rows(load_captions(file))
            print(f"{len(rows)} captions became queries")
            write_jsonl(draft, rows)
        else:
            load_annotations(file, clip_len)
            shutil.copyfile(file, draft)


def _summary_rows(card: Card, download: Download, folder: Path) -> list[dict[str, str]]:
    """Rows of summaries with their transcripts; how many videos have none is printed."""
    from read.data.summaries import load_summaries, with_transcripts

    with _at_hand(card.summaries, "summaries", card, download, folder) as file:
        summaries = load_summaries(file)
    if card.transcripts is not None:
        summaries = with_transcripts(summaries, card.path(card.transcripts))
    if silent := [summary.vid for summary in summaries if summary.silent]:
        print(f"{len(silent)} of {len(summaries)} videos have no transcript: {', '.join(silent[:SHOWN])}")
    return [summary.row() for summary in summaries]


@contextmanager
def _at_hand(origin: str | Remote, kind: str, card: Card, download: Download, folder: Path) -> Iterator[Path]:
    """The card's own file itself, and no copy, so that a message names it; one to download for the time being."""
    if isinstance(origin, str):
        yield card.path(origin)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=folder) as room:
        file = Path(room, f"{kind}.jsonl")
        _fetch_remote(origin, file, kind, card, download)
        yield file


def _make_annotations(card: Card, clip_len: float, folder: Path) -> None:
    from pipeline.sources.montage.scenes import annotation_rows, make_scene, segment_rows, summary_row, video_ids

    videos = card.videos
    scenes = [
        make_scene(vid, videos.domain, videos.seed) for vid in video_ids(videos.domain, videos.train, videos.test)
    ]
    write_jsonl(folder / "segments.jsonl", [row for scene in scenes for row in segment_rows(scene)])
    write_jsonl(folder / "summaries.jsonl", [summary_row(scene) for scene in scenes])
    write_jsonl(folder / "annotations.jsonl", [row for scene in scenes for row in annotation_rows(scene, clip_len)])


def _fetch_remote(remote: Remote, draft: Path, kind: str, card: Card, download: Download) -> None:
    """A pinned file from a mirror, or from its address."""
    from pipeline.sources import url

    reasons = []
    for mirror in mirror_folders(card, download):
        copy = mirror / Path(urlsplit(remote.url).path).name
        if copy.is_file():
            if sha256_of(copy) == remote.sha256:
                shutil.copyfile(copy, draft)
                return
            reasons.append(f"{copy} has another sha256")
    try:
        url.download(remote.url, draft, sha256=remote.sha256, retries=download.retries, timeout=download.timeout)
    except UnavailableError as reason:
        reasons.append(str(reason))
        raise InputError(f"the {kind} of {card.name} cannot be had: {'; '.join(reasons)}") from None


def fetch_shard(card: Card, shard: str, download: Download, raw: Path = RAW) -> None:
    """Get the videos of a shard and list them; what is there, as it should be, stays.

    A journal beside the list keeps what is done, so that a killed job costs the video it was at.
    """
    folder = raw / card.name
    sources = make_sources(card, download)
    digests = _digest_table(card)
    vids = [vid for vid in dataset_videos(card, raw) if shard_of(vid, download.shards) == shard]
    have, missing = {}, {}
    with exclusive(_journal(folder, shard)) as journal:
        known = _records(folder, shard)
        for vid in vids:
            entry, recipe = known.get(vid), sources[-1].recipe(vid)
            try:
                if not entry or not _is_current(folder, entry, recipe, digests.get(vid)):
                    entry = _fetch_video(vid, sources, folder, digests.get(vid)) | {"recipe": recipe}
                    journal.write(b"\n" + json.dumps({"vid": vid} | entry).encode())  # ends what a killed job began
                    journal.flush()
                have[vid] = entry
            except UnavailableError as reason:
                missing[vid] = str(reason)
        write_json(folder / "shards" / f"{shard}.json", {"videos": have, "missing": missing})
        _journal(folder, shard).unlink()


def _fetch_video(vid: str, sources: list[Source], folder: Path, sha256: str | None) -> dict[str, Any]:
    """Get a video from the first source that has it; its line in the list."""
    room = folder / "videos" / f".{vid}.part"
    reasons = []
    for source in sources:
        room.mkdir(parents=True, exist_ok=True)
        try:
            draft = source.fetch(vid, room)
        except UnavailableError as reason:
            reasons.append(str(reason))
            continue
        found = sha256_of(draft)
        if sha256 in (None, found):
            file = f"{vid}{draft.suffix}"
            entry = {"file": file, "bytes": draft.stat().st_size, "sha256": found}
            draft.replace(folder / "videos" / file)
            shutil.rmtree(room)
            return entry
        draft.unlink()
        reasons.append(f"its sha256 is {found}, not {sha256}; it was deleted")
    if not any(room.iterdir()):
        room.rmdir()
    raise UnavailableError("; ".join(reasons))


def _records(folder: Path, shard: str) -> dict[str, dict[str, Any]]:
    """What earlier runs noted about each video; an interrupted run has the last word."""
    records: dict[str, dict[str, Any]] = {}
    for path in (folder / "manifest.json", folder / "shards" / f"{shard}.json"):
        if path.is_file():
            records |= read_json(path)["videos"]
    for line in _journal(folder, shard).read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # an empty line, or the one at which a job was killed
        records[entry.pop("vid")] = entry
    return records


def _is_current(folder: Path, entry: dict[str, Any], recipe: str, sha256: str | None) -> bool:
    path = folder / "videos" / entry["file"]
    return (
        entry["recipe"] == recipe
        and sha256 in (None, entry["sha256"])
        and path.is_file()
        and path.stat().st_size == entry["bytes"]
        and sha256_of(path) == entry["sha256"]
    )


def _journal(folder: Path, shard: str) -> Path:
    return folder / "shards" / f"{shard}.journal.jsonl"


def _digest_table(card: Card) -> dict[str, str]:
    """Expected digests by video id, from a table as sha256sum writes it."""
    if card.videos.sha256 is None:
        return {}
    path = card.path(card.videos.sha256)
    try:
        pairs = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {Path(name.lstrip("*")).stem: digest.lower() for digest, name in pairs}
    except FileNotFoundError:
        raise InputError(f"{path}: no such table of digests") from None
    except ValueError:
        raise InputError(f"{path}: not lines of a digest and a file name, as sha256sum writes them") from None


def write_manifest(card: Card, download: Download, raw: Path = RAW) -> None:
    """Merge the shards' lists and remove what belongs to none.

    Raises:
        InputError: a larger share than the tolerance is missing. The lists that say so are removed, so that the next
            run tries again; the videos that are there stay.
    """
    folder = raw / card.name
    lists = [folder / "shards" / f"{shard}.json" for shard in shard_ids(download.shards)]
    merged: dict[str, dict[str, Any]] = {"videos": {}, "missing": {}}
    for path in filter(Path.is_file, lists):
        for key, entries in read_json(path).items():
            merged[key] |= entries
    vids = labelled_videos([folder / "annotations.jsonl", folder / "summaries.jsonl"])
    missing = dict(_missing(vids, merged, folder / "videos"))
    if len(missing) > download.tolerance * len(vids):
        for path in lists:
            if not missing.keys().isdisjoint(vid for vid in vids if shard_of(vid, download.shards) == path.stem):
                path.unlink(missing_ok=True)
        raise InputError(_too_many(card.name, missing, len(vids), download.tolerance))
    videos = {vid: merged["videos"][vid] for vid in vids if vid not in missing}
    _sweep(folder / "videos", {entry["file"] for entry in videos.values()})
    _sweep(folder / "shards", {path.name for path in lists})
    _sweep(folder, {path.name for path in folder.iterdir() if path.suffix != ".part"})
    write_json(folder / "manifest.json", {"dataset": card.name, "videos": videos, "missing": missing})


def _missing(vids: list[str], merged: dict[str, dict[str, Any]], folder: Path) -> Iterator[tuple[str, str]]:
    """Videos that are not there, with reasons."""
    for vid in vids:
        entry = merged["videos"].get(vid)
        if entry is None:
            yield vid, merged["missing"].get(vid, "no shard lists it; run the download again")
        elif not (folder / entry["file"]).is_file() or (folder / entry["file"]).stat().st_size != entry["bytes"]:
            yield vid, f"{folder / entry['file']} is gone or changed; run the download again"


def _too_many(name: str, missing: dict[str, str], total: int, tolerance: float) -> str:
    lines = [f"  {vid}: {reason}" for vid, reason in list(missing.items())[:SHOWN]]
    more = [f"  ... and {len(missing) - SHOWN} more"] if len(missing) > SHOWN else []
    head = (
        f"dataset {name}: {len(missing)} of {total} videos are missing ({len(missing) / total:.1%}), more than "
        f"download.tolerance ({tolerance:.1%}) allows; the next run asks for them again:"
    )
    return "\n".join([head, *lines, *more])


def _sweep(folder: Path, keep: set[str]) -> None:
    """Remove what is in a folder and not in `keep`."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.download",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (
        ("annotations", "write annotations.jsonl and summaries.jsonl"),
        ("shard", "get the videos of one shard and list them"),
        ("manifest", "merge the shards' lists into manifest.json"),
    ):
        job = commands.add_parser(command, help=text, description=text, allow_abbrev=False)
        job.add_argument("dataset", help="a folder in data/catalog/")
        if command == "shard":
            job.add_argument("shard", metavar="NNN", help="name of the shard, 000 to download.shards - 1")
        add_settings(job)
    arguments = parser.parse_args()
    card, settings = load_card(arguments.dataset), arguments.settings
    match arguments.command:
        case "annotations":
            fetch_annotations(card, settings.download, settings.clip_len)
        case "shard":
            fetch_shard(card, arguments.shard, settings.download)
        case "manifest":
            write_manifest(card, settings.download)


if __name__ == "__main__":
    run(main)
