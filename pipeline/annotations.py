"""What the download stage makes of a card's labels: queries and summaries, made, copied or downloaded, and checked."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.card import Card
from pipeline.card_file import Part, Remote
from pipeline.params import DownloadSettings
from pipeline.paths import RAW
from pipeline.sources import UnavailableError, mirror_folders
from pipeline.sources.pieces import LAID
from pipeline.sources.pinned import fetch_pinned
from read.errors import InputError
from read.files import atomic_path, read_jsonl, write_json, write_jsonl
from read.plugins import SUMMARY_LAYOUTS
from read.rows import vid_of

SHOWN = 10  # videos named in a message


def fetch_annotations(card: Card, download: DownloadSettings, clip_len: float, raw: Path = RAW) -> None:
    """Write the dataset's queries and summaries: made, copied or downloaded, and checked; and what it is, dataset.json.

    A dataset without queries gets an empty annotations.jsonl; a stage that needs queries says that it holds none.

    Raises:
        InputError: they have mistakes, or cannot be had; or they are bound to clips of another length.
    """
    folder = raw / card.name
    if card.clip_len not in (None, clip_len):
        raise InputError(
            f"{card.name} is labelled in clips of {card.clip_len:g} s, but clip_len is {clip_len:g}; "
            f"set clip_len: {card.clip_len} in params.yaml"
        )
    notes: Counter[str] = Counter()
    if card.videos.source != "stitched":
        write_jsonl(folder / LAID, [])
    if card.videos.source == "montage":
        _make_annotations(card, clip_len, folder)
    elif card.videos.source == "stitched":
        from pipeline.sources.stitched import stitch

        write_jsonl(folder / "segments.jsonl", [])
        write_jsonl(folder / "summaries.jsonl", [])
        stitch(card, download, clip_len, folder, notes)
    else:
        write_jsonl(folder / "segments.jsonl", [])
        write_jsonl(folder / "summaries.jsonl", _summary_rows(card, download, folder) if card.summaries else [])
        with atomic_path(folder / "annotations.jsonl") as draft:
            if card.queries:
                _write_queries(draft, card, download, clip_len, notes)
            else:
                draft.touch()
    write_json(folder / "dataset.json", _describe(card, clip_len, folder, notes))


def _write_queries(draft: Path, card: Card, download: DownloadSettings, clip_len: float, notes: Counter[str]) -> None:
    from read.data.annotations import load_annotations
    from read.data.layouts import load_parts
    from read.data.subtitles import caption_rows, load_captions

    with _at_hand(card.queries, "annotations", card, download, draft.parent) as files:
        if card.subtitles is not None:
            rows = caption_rows(load_captions(files[0][0]))
            print(f"{len(rows)} captions became queries")
            write_jsonl(draft, rows)
        elif isinstance(card.annotations, list):
            annotations, found = load_parts(files, card.layout or "qvhighlights", clip_len)
            notes.update(found)
            for what, count in notes.items():
                print(f"{card.name}: {count} {what}")
            write_jsonl(draft, [annotation.row() for annotation in annotations])
        else:
            load_annotations(files[0][0], clip_len)
            shutil.copyfile(files[0][0], draft)


def _summary_rows(card: Card, download: DownloadSettings, folder: Path) -> list[dict[str, str]]:
    """Rows of summaries with their transcripts; how many videos have none is printed."""
    from read.data.summaries import load_summaries, with_transcripts

    with _at_hand(card.summaries, "summaries", card, download, folder) as files:
        apart = card.layout in SUMMARY_LAYOUTS.names()
        summaries = SUMMARY_LAYOUTS.load(card.layout)(files) if apart else load_summaries(files[0][0])
    if card.transcripts is not None:
        summaries = with_transcripts(summaries, card.path(card.transcripts))
    if silent := [summary.vid for summary in summaries if summary.silent]:
        print(f"{len(silent)} of {len(summaries)} videos have no transcript: {', '.join(silent[:SHOWN])}")
    return [summary.row() for summary in summaries]


@contextmanager
def _at_hand(
    origin: str | Remote | list[Part], kind: str, card: Card, download: DownloadSettings, folder: Path
) -> Iterator[list[tuple[Path, str]]]:
    """Files and the sides they are of.

    The card's own files themselves, and no copies, so that a message names them; what is downloaded for the time being.
    """
    if isinstance(origin, str):
        yield [(card.path(origin), "")]
        return
    parts = origin if isinstance(origin, list) else [Part(url=origin.url, sha256=origin.sha256)]
    card.part_files(parts)  # are all there
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=folder) as room:
        files = []
        for number, part in enumerate(parts):
            place = Path(room, str(number))
            place.mkdir()
            file = card.path(part.file) if part.file else _fetch(part, place, kind, card, download)
            files.append((file, part.split or ""))
        yield files


def _fetch(part: Part, room: Path, kind: str, card: Card, download: DownloadSettings) -> Path:
    """A pinned file: in a mirror or a folder in it, or from its address."""
    mirrors = mirror_folders(card, download)
    nested = [place for mirror in mirrors for place in sorted(mirror.iterdir()) if place.is_dir()]
    try:
        return fetch_pinned(part.url, part.sha256, room, [*mirrors, *nested], download)
    except UnavailableError as reason:
        raise InputError(f"the {kind} of {card.name} cannot be had: {reason}") from None


def _make_annotations(card: Card, clip_len: float, folder: Path) -> None:
    from pipeline.sources.montage.scenes import annotation_rows, make_scene, segment_rows, summary_row, video_ids

    videos = card.videos
    scenes = [
        make_scene(vid, videos.domain, videos.seed) for vid in video_ids(videos.domain, videos.train, videos.test)
    ]
    write_jsonl(folder / "segments.jsonl", [row for scene in scenes for row in segment_rows(scene)])
    write_jsonl(folder / "summaries.jsonl", [summary_row(scene) for scene in scenes])
    write_jsonl(folder / "annotations.jsonl", [row for scene in scenes for row in annotation_rows(scene, clip_len)])


def _describe(card: Card, clip_len: float, folder: Path, notes: Counter[str]) -> dict[str, Any]:
    """What later stages and the report need to know of the dataset, with counts of all that it labels."""
    queries, summaries = read_jsonl(folder / "annotations.jsonl"), read_jsonl(folder / "summaries.jsonl")
    return {
        "name": card.title,
        "dataset": card.name,
        "videos": card.videos.source,
        "synthetic": card.synthetic,
        "licence": card.licence,
        "citation": card.citation,
        "homepage": card.homepage,
        "metric": card.metric if queries else None,
        "clip_len": clip_len,
        "n_queries": len(queries),
        "n_summaries": len(summaries),
        "n_videos": len({vid_of(row["vid"], "vid") for row in [*queries, *summaries]}),
        "sides": _counts([*queries, *summaries], "split"),
        "domains": _counts(queries, "kind"),
        "changed": dict(notes),
        "reference": card.reference,
    }


def _counts(rows: Sequence[dict[str, Any]], key: str) -> dict[str, dict[str, int]]:
    """For each value of a key, where rows have one, how many labels and videos there are."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row.get(key):
            groups.setdefault(str(row[key]), []).append(vid_of(row["vid"], "vid"))
    return {value: {"labels": len(vids), "videos": len(set(vids))} for value, vids in sorted(groups.items())}
