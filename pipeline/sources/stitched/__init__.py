"""Grounding data from short captioned clips, stitched into videos: the moment of a caption is its clip's place."""

from collections import Counter
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.card import CARD, Card, known_datasets, load_card
from pipeline.params import DownloadSettings
from pipeline.sources.base import UnavailableError, exclusive
from pipeline.sources.pieces import LAID, laid_pieces
from pipeline.sources.stitched.plan import FPS, CaptionedClip, Excerpt, asked_of, lay_out, piece_of
from read.errors import InputError
from read.files import digest_of, sha256_of, write_jsonl

SHOWN = 10  # clips named in a message


class Stitched:
    """A card's videos, made of pieces of its clips. Raises InputError where it was not laid out yet."""

    def __init__(self, card: Card, download: DownloadSettings, folder: Path) -> None:
        from pipeline.sources.stitched.clips import Clips

        self._fade = card.videos.cut == "crossfade"
        self._room = folder / paths.PIECES
        self._clips = Clips(card, download, folder)
        self._pieces: dict[str, list[Excerpt]] = {}
        for row in laid_pieces(folder):
            piece = Excerpt(row["clip"], row["sha256"], row["start"], row["seconds"])
            self._pieces.setdefault(row["vid"], []).append(piece)

    def recipe(self, vid: str) -> str:
        """A digest of the pieces, whose names tell by which code they are made, and of how they are joined."""
        return digest_of([[piece.name for piece in self._pieces[vid]], self._fade])

    def fetch(self, vid: str, room: Path) -> Path:
        """Write a video, and the pieces of it that are not there yet."""
        from pipeline.sources.stitched.render import write_stitched

        try:
            pieces = [self._piece(piece) for piece in self._pieces[vid]]
            write_stitched(pieces, self._fade, room / "video.mp4")
        except InputError as reason:
            raise UnavailableError(reason) from None
        return room / "video.mp4"

    def _piece(self, piece: Excerpt) -> Path:
        from pipeline.sources.stitched.render import write_piece

        out = self._room / piece.name
        with exclusive(self._room / f".{piece.name}.lock") as lock:  # another shard may want it too
            if not out.is_file():
                clip = self._clips.file(piece.clip)
                if sha256_of(clip) != piece.sha256:
                    raise UnavailableError(
                        f"clip {piece.clip}: {clip} is another file than when the videos were laid out; remove "
                        f"{self._room.with_name('annotations.jsonl')} and run again"
                    )
                write_piece(clip, piece.start, piece.seconds, out)
            Path(lock.name).unlink()
        return out


def stitch(card: Card, download: DownloadSettings, clip_len: float, folder: Path, notes: Counter[str]) -> None:
    """Lay the videos out: write annotations.jsonl and `LAID`. What is left out is told, and counted in `notes`.

    Raises:
        InputError: captions have mistakes, clips are too few, or another card of the same clips shares them otherwise.
    """
    from pipeline.sources.stitched.captions import load_captions
    from pipeline.sources.stitched.clips import Clips, alike, groups_of, look_at
    from read.encoders.frames import frames_per_clip

    videos = card.videos
    _check_other_cards(card)
    frames_per_clip(FPS, clip_len)
    captions = load_captions(card.path(videos.captions or ""))
    looks = look_at(captions, Clips(card, download, folder), folder, notes)
    asked = asked_of({vid: captions[vid] for vid in looks})
    clips = {
        vid: CaptionedClip(vid, look.sha256, look.frames, tuple(captions[vid]), asked[vid])
        for vid, look in looks.items()
    }
    drawn = {vid: piece_of(clip, videos.seconds or (), clip_len) for vid, clip in clips.items()}
    pieces = {vid: piece for vid, piece in drawn.items() if piece is not None}
    if short := [vid for vid in drawn if vid not in pieces]:
        notes[f"clips left out, as they are shorter than {videos.seconds[0]:g} s"] += len(short)
        print(f"{len(short)} clips are shorter than {videos.seconds[0]:g} s: {', '.join(short[:SHOWN])}")
    groups = groups_of(clips.values(), alike(looks))
    if together := [group for group in groups if len(group) > 1]:
        print(f"{sum(map(len, together))} clips look alike or are captioned alike, in {len(together)} groups:")
        print("\n".join(f"  {', '.join(group[:SHOWN])}" for group in together))
    try:
        laid = lay_out(clips, pieces, groups, videos)
    except InputError as error:
        left = "".join(f"; {count} {what}" for what, count in notes.items())
        raise InputError(f"{card.folder / CARD}: {error}{left}") from None
    write_jsonl(folder / LAID, [row for video in laid for row in _lines(video.vid, video.pieces, video.starts)])
    write_jsonl(folder / "annotations.jsonl", [row for video in laid for row in video.rows()])
    queries = sum(len(video.queries) for video in laid)
    print(f"{len(laid)} videos, of {len(pieces)} clips that can be used; {queries} queries")


def _lines(vid: str, pieces: list[Excerpt], starts: list[float]) -> list[dict[str, Any]]:
    return [
        {"vid": vid, "at": at, "clip": piece.clip, "sha256": piece.sha256, "start": piece.start}
        | {"seconds": piece.seconds, "file": piece.name}
        for piece, at in zip(pieces, starts, strict=True)
    ]


def _check_other_cards(card: Card) -> None:
    """Raise InputError where a card of the other domain parts the same clips otherwise: both would hold some."""
    mine = card.videos
    for name in known_datasets(card.folder.parent):
        try:
            other = load_card(name, card.folder.parent)
        except InputError:
            continue  # it is told when it is asked for
        theirs = other.videos
        if theirs.source != "stitched" or _place(other) != _place(card):
            continue
        if "source" in (mine.domain, theirs.domain) and mine.domain != theirs.domain:
            captions = {one.path(one.videos.captions or "").resolve() for one in (card, other)}
            if mine.source_share != theirs.source_share or len(captions) > 1:
                raise InputError(
                    f"{card.folder / CARD}: {other.folder / CARD} is of the same clips; source and target would share "
                    "some: name the same captions and the same source_share in both, and domain source or target"
                )


def _place(card: Card) -> str:
    return card.videos.url or str(card.path(card.videos.folder or "").resolve())
