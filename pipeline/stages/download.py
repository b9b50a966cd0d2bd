"""Stage 1, download: a dataset's annotations and its raw videos or published features, into data/raw/<dataset>/.

annotations.jsonl    the dataset's queries, checked; empty where it has summaries only
segments.jsonl       labelled segments, by which small encoders learn; empty where a dataset has none
summaries.jsonl      a transcript and a summary per video, checked; empty likewise
videos/<vid>.<ext>   the videos
clips/, clips.jsonl  where they are stitched, the clips that were downloaded for it, and what was seen of all of them;
pieces.jsonl         which piece of which clip is where in each video, empty where they are not stitched,
pieces/<digest>.mp4  and the pieces
package.zip          in their place, where the card names features and params.yaml asks for them
shards/<NNN>.json    what one shard has, with sizes and digests, and what it lacks, with reasons
manifest.json        the same for the whole dataset, and what was taken without a digest to check it by
missing.csv          the videos that are missing, with reasons, as a table

A shard is the videos whose ids hash to it, so that a new video touches no other shard. With a package of features, the
lists also name under "features" the videos that have some; no video is downloaded then, and those that earlier runs
downloaded stay.
"""

import argparse
import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.annotations import fetch_annotations
from pipeline.card import Card, load_card
from pipeline.cli import add_settings, run
from pipeline.machine import told, tolerance
from pipeline.packed import pack
from pipeline.params import DownloadSettings
from pipeline.sources import Source, UnavailableError, make_sources
from pipeline.sources.base import exclusive
from pipeline.sources.pieces import pieces_of
from pipeline.sources.pinned import unpinned
from pipeline.sources.shards import dataset_videos, labelled_videos, shard_ids, shard_of
from read.errors import InputError
from read.files import atomic_path, read_json, sha256_of, write_json

SHOWN = 10  # missing videos named in a message
LONGEST = 300  # characters of a reason


def fetch_shard(card: Card, shard: str, download: DownloadSettings, raw: Path = paths.RAW) -> None:
    """Get the videos of a shard and list them; what is there, as it should be, stays.

    A journal beside the list keeps what is done, so that a killed job costs the video it was at.
    """
    folder = raw / card.name
    sources = make_sources(card, download, folder)
    digests, pieces = _digest_table(card), pieces_of(card, folder)
    vids = [vid for vid in dataset_videos(card, raw) if shard_of(vid, download.shards) == shard]
    have, missing = {}, {}
    with exclusive(_journal(folder, shard)) as journal:
        known = _records(folder, shard)
        for vid in vids:
            entry, recipe = known.get(vid), sources[-1].recipe(vid)
            try:
                if not entry or not _is_current(folder, entry, recipe, digests.get(vid)):
                    entry = _fetch_video(vid, sources, folder, digests.get(vid)) | {"recipe": recipe}
                    if card.videos.cut == "hard":  # else its pictures are not those of its pieces alone
                        entry |= {"pieces": pieces[vid]}
                    journal.write(b"\n" + json.dumps({"vid": vid} | entry).encode())  # ends what a killed job began
                    journal.flush()
                have[vid] = entry
            except UnavailableError as reason:
                missing[vid] = paths.told(reason)
        write_json(folder / "shards" / f"{shard}.json", {"videos": have, "missing": missing})
        _journal(folder, shard).unlink()


def list_shard(card: Card, shard: str, download: DownloadSettings, raw: Path = paths.RAW, packed: bool = False) -> None:
    """List which videos of a shard the card's package of features has; get it first, unless this job was given it."""
    from pipeline.packages import fetch_package
    from read.data.packages import Package

    folder = raw / card.name
    package = Package(folder) if packed else fetch_package(card, download, folder)
    vids = [vid for vid in dataset_videos(card, raw) if shard_of(vid, download.shards) == shard]
    missing = {vid: reason for vid in vids if (reason := package.lacks(vid))}
    with exclusive(_journal(folder, shard)):
        known = _records(folder, shard)
        have = {vid: known[vid] for vid in vids if vid in known and _has_size(folder, known[vid])}
        lists = {"videos": have, "missing": missing, "features": [vid for vid in vids if vid not in missing]}
        write_json(folder / "shards" / f"{shard}.json", lists)
        _journal(folder, shard).unlink()


def pack_shard(folder: Path, shard: str, tar: Path) -> None:
    """Move the videos of a shard, with the pieces that they are made of, into a tar; features of a package are none."""
    listed = read_json(folder / "shards" / f"{shard}.json")
    entries = [] if "features" in listed else [*listed["videos"].values()]
    pieces = [f"{paths.PIECES}/{name}" for entry in entries for name, _ in entry.get("pieces", ())]
    videos = [f"videos/{entry['file']}" for entry in entries]
    pack(folder, [*videos, *pieces], tar)
    for name in videos:
        (folder / name).unlink()


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
    """What earlier runs noted about each video, in however many shards; an interrupted run has the last word."""
    records: dict[str, dict[str, Any]] = {}
    others = set((folder / "shards").glob("*.json")) - {folder / "shards" / f"{shard}.json"}
    for path in (*sorted(others), folder / "manifest.json", folder / "shards" / f"{shard}.json"):
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
    return (
        entry["recipe"] == recipe
        and sha256 in (None, entry["sha256"])
        and _has_size(folder, entry)
        and all((folder / paths.PIECES / name).is_file() for name, _ in entry.get("pieces", ()))
        and sha256_of(folder / "videos" / entry["file"]) == entry["sha256"]
    )


def _has_size(folder: Path, entry: dict[str, Any]) -> bool:
    path = folder / "videos" / entry["file"]
    return path.is_file() and path.stat().st_size == entry["bytes"]


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


def write_manifest(card: Card, download: DownloadSettings, raw: Path = paths.RAW, packed: bool = False) -> None:
    """Merge the shards' lists and remove what belongs to none; videos that are `packed` are not looked for.

    Raises:
        InputError: a larger share than the tolerance is missing. The lists that say so are removed, so that the next
            run tries again; the videos that are there stay.
    """
    folder = raw / card.name
    lists = [folder / "shards" / f"{shard}.json" for shard in shard_ids(download.shards)]
    merged: dict[str, dict[str, Any]] = {"videos": {}, "missing": {}, "features": {}}
    found = [read_json(path) for path in lists if path.is_file()]
    for content in found:
        for key, entries in content.items():
            merged[key] |= entries if isinstance(entries, dict) else dict.fromkeys(entries)
    packaged = any("features" in content for content in found)

    def is_there(entry: dict[str, Any]) -> bool:
        return packed or _has_size(folder, entry)

    vids = labelled_videos([folder / "annotations.jsonl", folder / "summaries.jsonl"])
    missing = dict(_missing(vids, merged, folder, packaged, is_there))
    if len(missing) > download.tolerance * len(vids):
        for path in lists:
            if not missing.keys().isdisjoint(vid for vid in vids if shard_of(vid, download.shards) == path.stem):
                path.unlink(missing_ok=True)
        again = "with `--forcerun download_shard` the next run" if packed else "the next run"
        raise InputError(_too_many(card, missing, len(vids), download.tolerance, again))
    videos = {vid: entry for vid, entry in merged["videos"].items() if vid in vids and is_there(entry)}
    manifest = {"dataset": card.name, "videos": videos, "missing": missing, "unpinned": unpinned(card)}
    if packaged:
        manifest["features"] = [vid for vid in vids if vid in merged["features"]]
    if not packed:  # else what lies here is copies of what jobs need, maybe of others that are at work
        _sweep(folder / "videos", {entry["file"] for entry in videos.values()})
        _sweep(folder / paths.PIECES, {name for parts in pieces_of(card, folder).values() for name, _ in parts})
        _sweep(folder / "shards", {path.name for path in lists})
        _sweep(folder, {path.name for path in folder.iterdir() if path.suffix != ".part"})
    _write_table(folder / "missing.csv", missing)
    write_json(folder / "manifest.json", manifest)


def _missing(
    vids: list[str],
    merged: dict[str, dict[str, Any]],
    folder: Path,
    packaged: bool,
    is_there: Callable[[dict[str, Any]], bool],
) -> Iterator[tuple[str, str]]:
    """Videos that are not there, or without features in a package, with reasons."""
    for vid in vids:
        entry = merged["videos"].get(vid)
        if packaged and vid in merged["features"]:
            continue
        if packaged or entry is None:
            yield vid, _short(merged["missing"].get(vid, "no shard lists it; run the download again"))
        elif not is_there(entry):
            yield vid, paths.told(f"{folder / 'videos' / entry['file']} is gone or changed; run the download again")


def _short(reason: str) -> str:
    """A reason in one line of at most LONGEST characters, without the middle of a longer one."""
    line = " ".join(reason.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-(LONGEST // 2) :]}"


def _write_table(path: Path, missing: dict[str, str]) -> None:
    with atomic_path(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("vid", "reason"), *missing.items()])


def _too_many(card: Card, missing: dict[str, str], total: int, tolerance: float, again: str) -> str:
    lines = [f"  {vid}: {reason}" for vid, reason in list(missing.items())[:SHOWN]]
    more = [f"  ... and {len(missing) - SHOWN} more"] if len(missing) > SHOWN else []
    head = (
        f"dataset {card.name}: {len(missing)} of {total} videos are missing ({len(missing) / total:.1%}), more than "
        f"download.tolerance ({tolerance:.1%}) allows; {again} asks for them again:"
    )
    if card.videos.source == "manual":
        place = card.path(card.videos.folder)
        more.append(f"put them into {place}, each named by its id, such as {next(iter(missing))}.mp4")
    return "\n".join([head, *lines, *more, *([card.instructions] if card.instructions else [])])


def _sweep(folder: Path, keep: set[str]) -> None:
    """Remove what is in a folder and not in `keep`."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _download_settings(arguments: argparse.Namespace) -> DownloadSettings:
    """What the job was given, and how this machine works."""
    what = {"shards": arguments.shards} if "shards" in arguments else {}
    return DownloadSettings.of(told(), **what, tolerance=tolerance() if arguments.command == "manifest" else 0.0)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.stages.download",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (
        ("annotations", "write annotations.jsonl and summaries.jsonl"),
        ("shard", "get the videos of one shard and list them"),
        ("package", "get the published features"),
        ("manifest", "merge the shards' lists into manifest.json"),
    ):
        job = commands.add_parser(command, help=text, description=text, allow_abbrev=False)
        job.add_argument("dataset", help="a folder in data/catalog/")
        if command == "shard":
            job.add_argument("shard", metavar="NNN", help="name of the shard, 000 to download.shards - 1")
            job.add_argument("--videos", type=Path, nargs="*", default=[], help="a tar to move them into")
        if command == "manifest":
            job.add_argument("--packed", action="store_true", help="the videos are in the shards' tars")
        if command in ("shard", "manifest"):
            job.add_argument("--shards", type=int, required=True, help="how many there are, download.shards")
        add_settings(job)
    arguments = parser.parse_args()
    card, settings = load_card(arguments.dataset), arguments.settings
    download = _download_settings(arguments)
    match arguments.command:
        case "annotations":
            fetch_annotations(card, download, settings.clip_len)
        case "shard" if card.features is not None and settings.features == "package":
            list_shard(card, arguments.shard, download, packed=bool(arguments.videos))
        case "shard":
            fetch_shard(card, arguments.shard, download)
        case "package":
            from pipeline.packages import fetch_package

            fetch_package(card, download, paths.raw(card.name))
        case "manifest":
            write_manifest(card, download, packed=arguments.packed)
    if arguments.command == "shard" and arguments.videos:
        pack_shard(paths.raw(card.name), arguments.shard, *arguments.videos)


if __name__ == "__main__":
    run(main)
