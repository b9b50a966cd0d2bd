"""Beside stage 3: what is said in videos that have a summary and came without a transcript, written down by ear.

<shard>.jsonl      what was heard in a shard's videos, with times, or why nothing could be
transcripts.jsonl  the transcripts of all of them
subtitles/         the same as a .srt a video
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline import paths
from pipeline.cli import add_settings, run
from pipeline.kept import BEFORE
from pipeline.machine import chosen_device
from pipeline.packed import unpacked
from read.errors import InputError
from read.files import atomic_path, digest_of, read_json, read_jsonl, write_jsonl, write_text

SHOWN = 10  # videos named in a message
ABOUT = "about.txt"  # in the folder of subtitles: DVC knows no empty folder, and would not bring it back


def transcribe_shard(
    dataset: str, shard: str, settings: SimpleNamespace, code: str = "", footage: Path | None = None
) -> None:
    """Listen to the videos of one shard. One that cannot be heard is listed with its reason.

    What this dataset's shards hold of a video is taken over: heard in the same content by the same model, asked for the
    same language by the same `code`, the digest of this stage's; without it, nothing is. Each video is written down as
    soon as it is done. `footage` holds the videos, by default the dataset's folder.

    Raises:
        InputError: the model cannot be had or loaded.
    """
    raw, folder = footage or paths.raw(dataset), paths.transcripts(dataset)
    listed = read_json(paths.raw(dataset) / "shards" / f"{shard}.json").get("videos", {})  # no package has sound
    silent = {row["vid"] for row in read_jsonl(paths.raw(dataset) / "summaries.jsonl") if not row.get("transcript")}
    wanted = {vid: entry for vid, entry in listed.items() if vid in silent}
    _put_by(folder, shard, wanted)
    rows = _listened(dataset, shard, wanted, settings.transcribe, code, raw) if wanted else []
    write_jsonl(folder / f"{shard}.jsonl", rows)


def _listened(
    dataset: str, shard: str, videos: Mapping[str, Any], wanted: Any, code: str, footage: Path
) -> list[dict[str, Any]]:
    """Rows about videos, in their order."""
    from tqdm import tqdm

    from read.encoders.program import ffmpeg_binary, ffmpeg_version
    from read.speech import Transcriber, find_model, model_digest

    print(f"sound by {ffmpeg_version()}, {ffmpeg_binary()}")  # where it is absent, the job fails, and not each video
    folder = paths.transcripts(dataset)
    model = find_model(wanted.model)
    by = [code, model_digest(model), wanted.language]
    made = {vid: digest_of([*by, entry["sha256"]]) for vid, entry in videos.items()}
    known = _kept(folder, made) if code else {}
    if known:
        print(f"{len(known)} of {len(videos)} videos were heard already")
    found = {vid: row | {"model": wanted.model} for vid, row in known.items()}  # which may have another name now
    rest = [vid for vid in videos if vid not in found]
    ear = Transcriber(str(model), wanted.language, chosen_device()) if rest else None
    for vid in tqdm(rest, desc=f"{dataset} {shard}", unit="video"):
        try:
            heard = ear.listen(footage / "videos" / videos[vid]["file"])
        except InputError as error:
            reason = paths.told(str(error).replace(str(footage), str(paths.raw(dataset))))
            found[vid] = {"vid": vid, "failed": reason}
            print(f"{vid}: {error}")
            continue
        cues = [[cue.start, cue.end, cue.text] for cue in heard.cues]
        about = {"language": heard.language, "model": wanted.model, "told": heard.told}
        found[vid] = {"vid": vid, "made": made[vid], **about, "cues": cues}
        write_jsonl(folder / f"{shard}.jsonl", [found[vid] for vid in videos if vid in found])
        print(f"{vid}: {heard.told or f'{len(cues)} cues, {heard.language}'}")
    return [found[vid] for vid in videos]


def _kept(folder: Path, made: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What the shards in a folder hold of some videos, each made of what it would be made of now."""
    rows = (row for path in sorted(folder.glob("[0-9]*.jsonl")) for row in read_jsonl(path))
    return {row["vid"]: row for row in rows if "made" in row and made.get(row["vid"]) == row["made"]}


def _put_by(folder: Path, shard: str, videos: Mapping[str, Any]) -> None:
    """Keep a shard that is about to be written anew, where it holds videos that are not in it any more."""
    old = folder / f"{shard}.jsonl"
    if old.is_file() and not {row["vid"] for row in read_jsonl(old)} <= videos.keys():
        place = old.with_stem(f"{shard}{BEFORE}")
        place.unlink(missing_ok=True)
        os.link(old, place)


def collect(dataset: str, settings: SimpleNamespace) -> None:
    """List what was heard in all shards, as transcripts and as subtitles, and remove shards that nobody asks for.

    Raises:
        InputError: there were videos to listen to, and none of them could be heard.
    """
    folder, hears = paths.transcripts(dataset), settings.transcribe.model is not None
    names = {path.stem for path in (paths.raw(dataset) / "shards").glob("*.json")} if hears else set()
    for path in folder.glob("[0-9]*.jsonl"):
        if path.stem not in names:
            path.unlink()
    rows = [row for name in sorted(names) for row in read_jsonl(folder / f"{name}.jsonl")]
    failed = {row["vid"]: row["failed"] for row in rows if "failed" in row}
    heard = {row["vid"]: row for row in rows if "failed" not in row}
    if failed and not heard:
        reasons = "\n".join(f"  {vid}: {reason}" for vid, reason in list(failed.items())[:SHOWN])
        raise InputError(f"{dataset}: no video could be heard\n{reasons}")
    for vid, reason in failed.items():
        print(f"not heard: {vid}: {reason}")
    said = [vid for vid in sorted(heard) if heard[vid]["cues"]]
    if hears:
        print(f"somebody speaks in {len(said)} of {len(heard)} videos that came without a transcript")
    with atomic_path(folder / "subtitles") as draft:
        draft.mkdir()
        write_text(draft / ABOUT, f"Heard by {settings.transcribe.model}.\n" if hears else "Nobody listened.\n")
        if heard:
            _write_subtitles(draft, heard)
    write_jsonl(
        paths.heard(dataset),
        [
            {"vid": vid, "transcript": " ".join(text for _, _, text in heard[vid]["cues"])}
            | {key: heard[vid][key] for key in ("model", "language")}
            for vid in said
        ],
    )


def _write_subtitles(folder: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    from read.data.transcripts import Cue, subrip  # loads torch, for which nobody is to wait who does not listen

    for vid, row in rows.items():
        write_text(folder / f"{vid}.srt", subrip(Cue(*cue) for cue in row["cues"]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["shard", "collect"])
    parser.add_argument("dataset", help="a folder of data/raw/")
    parser.add_argument("shard", nargs="?", help="its number, as 003; with `shard`")
    parser.add_argument("--code", default="", help="the digest of this stage's code; with `shard`")
    parser.add_argument("--videos", nargs="*", type=Path, default=[], metavar="TAR", help="the shard's videos, packed")
    add_settings(parser)
    arguments = parser.parse_args()
    if arguments.part == "collect":
        collect(arguments.dataset, arguments.settings)
        return
    with unpacked(arguments.videos, paths.raw(arguments.dataset)) as footage:
        transcribe_shard(arguments.dataset, arguments.shard, arguments.settings, arguments.code, footage)


if __name__ == "__main__":
    run(main)
