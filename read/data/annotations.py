"""Annotations in QVHighlights' form: one JSON object a line, a sentence and the windows that it describes.

Required keys: `qid`, `query`, `vid`, `relevant_windows` ([[start, end], ...] in seconds). Optional: `duration` of the
video in seconds, which its file tells too; `relevant_clip_ids` with `saliency_scores` (one row of annotators' scores
0..4 per relevant clip), derived from the windows when absent; `kind`, a name by which scores are reported apart;
`split`, `train`, `val` or `test`; `judged`, the clips that a benchmark ranks where they are not ours: [start, end,
score, ...], seconds and annotators; `distractors`, windows that look like the answer and are not it. An optional key
that is null is absent.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from read.data.lengths import Length, misfits
from read.errors import InputError
from read.rows import WEEK, Fields, Span, checked_window, id_key, parse_lines, shown

REQUIRED = ("qid", "query", "vid", "relevant_windows")
MAX_SALIENCY = 4


@dataclass(frozen=True)
class Question:
    """A sentence that is asked of a video, and how long the video lasts, in seconds."""

    qid: int | str
    query: str
    vid: str
    duration: float


@dataclass(frozen=True)
class Annotation:
    """One query with its ground truth; times in seconds. `duration` is infinite where nobody has told it yet.

    `pictures` is how long the decoded pictures last, by which a stated duration may be rounded; infinite where unknown.
    `saliency` holds one row per entry of `clip_ids`, one column per annotator, 0..4. `judged` holds a row per clip
    that a benchmark ranks: start, end, and the annotators' scores in the benchmark's own scale. `distractors` are
    windows that a model may take for the answer, as of the same subject doing something else; none overlaps a window.
    """

    qid: int | str
    query: str
    vid: str
    duration: float
    windows: tuple[tuple[float, float], ...]
    clip_ids: tuple[int, ...]
    saliency: tuple[tuple[float, ...], ...]
    kind: str = ""
    split: str = ""
    judged: tuple[tuple[float, ...], ...] = ()
    pictures: float = math.inf
    distractors: tuple[tuple[float, float], ...] = ()

    @property
    def question(self) -> Question:
        """What it answers; pictures that end before a stated duration end the video."""
        return Question(self.qid, self.query, self.vid, min(self.duration, self.pictures))

    def row(self) -> dict[str, Any]:
        """The annotation as a line of QVHighlights' jsonl."""
        row = {
            "qid": self.qid,
            "query": self.query,
            "vid": self.vid,
            **({"duration": self.duration} if math.isfinite(self.duration) else {}),
            "relevant_windows": [list(window) for window in self.windows],
            "relevant_clip_ids": list(self.clip_ids),
            "saliency_scores": [list(scores) for scores in self.saliency],
        }
        spans = {name: [list(span) for span in getattr(self, name)] for name in ("judged", "distractors")}
        optional = {"kind": self.kind, "split": self.split, **spans}
        return row | {key: value for key, value in optional.items() if value}


def load_annotations(
    path: str | Path, clip_len: float, lengths: Mapping[str, Length] | None = None
) -> list[Annotation]:
    """Read and check a jsonl of annotations.

    Args:
        path: the file.
        clip_len: seconds per clip, by which saliency is derived where the file has none.
        lengths: how long videos were found to be; labels have to fit them, and a `duration` that is not told is theirs.

    Raises:
        InputError: the file is absent or empty, or has mistakes. All of them are listed, each with its line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such annotation file")
    once = Once()

    def parse_once(row: Any, number: int) -> Annotation:
        annotation = parse(row, clip_len, lengths)
        once.check(annotation, f"on line {number}")
        return annotation

    annotations = parse_lines(path, parse_once)
    if not annotations:
        raise InputError(f"{path}: holds no annotation")
    return annotations


class Once:
    """What has to be the same, or another, from line to line: the id is each line's own, annotators are as many."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._annotators: tuple[int, str] | None = None

    def check(self, annotation: Annotation, place: str) -> None:
        """Raise InputError where an annotation's id has stood already, or it has more or fewer annotators."""
        key = id_key(annotation.qid)
        if (other := self._places.setdefault(key, place)) != place:
            raise InputError(
                f"qid {annotation.qid} stands already {other} (a number and its digits as a text are one id)"
            )
        if annotation.saliency:
            known, where = self._annotators = self._annotators or (len(annotation.saliency[0]), place)
            if (here := len(annotation.saliency[0])) != known:
                raise InputError(
                    f"qid {annotation.qid}: saliency_scores of {here} annotators, but {where} of {known}; derived ones "
                    "count as one"
                )


def parse(row: Mapping[str, Any], clip_len: float, lengths: Mapping[str, Length] | None = None) -> Annotation:
    """Check one row and fill in what is derived. Raises InputError with all that is wrong with it."""
    fields = Fields(row, "qid")
    fields.require(REQUIRED)
    qid, query, vid = fields.id("qid"), fields.text("query"), fields.vid()
    stated, table = fields.seconds("duration"), fields.table("relevant_windows", "[start, end]", 2)
    clip_ids, scores = fields.row.get("relevant_clip_ids"), fields.row.get("saliency_scores")
    judged = fields.table("judged", "[start, end, score, ...], with as many scores as every other", least=3)
    others = fields.table("distractors", "[start, end]", 2)
    kind, side = fields.text("kind", empty=True), fields.side()
    length = (lengths or {}).get(vid or "")
    duration = stated or (length.seconds if length else math.inf)
    if length and (
        reasons := misfits(stated, [(line[0], line[1]) for line in [*(table or []), *(others or [])]], length)
    ):
        fields.mistakes += reasons
        duration = math.inf  # by which nothing else is measured
    if table == []:
        fields.mistakes.append("relevant_windows is empty")
    if not fields.mistakes and length and stated is None:  # what lies within the slack ends with the video
        table, others = ([[start, min(end, duration)] for start, end in part or []] for part in (table, others))
    windows = _windows(fields, table or [], duration, "window")
    clips = _windows(fields, judged or [], duration, "judged")
    distractors = _windows(fields, others or [], duration, "distractor")
    fields.mistakes += [
        f"distractor [{start:g}, {end:g}] overlaps a window of relevant_windows"
        for start, end in distractors
        if any(start < stop and begin < end for begin, stop in windows)
    ]
    given = clip_ids is not None or scores is not None
    saliency = _saliency(fields, clip_ids or [], scores or [], duration, clip_len) if given else ((), ())
    fields.check()
    assert qid is not None and query is not None and vid is not None, "or the check had raised"
    if not given:
        saliency = derive_saliency(windows, duration, clip_len)
    ranked = tuple((*span, *line[2:]) for span, line in zip(clips, judged or [], strict=True))
    pictures = length.seconds if length and length.decoded else math.inf
    return Annotation(qid, query, vid, duration, windows, *saliency, kind or "", side, ranked, pictures, distractors)


def clips_of(duration: float, clip_len: float) -> int:
    """How many clips of `clip_len` seconds cover `duration` seconds; a trailing part counts as one."""
    return max(1, math.ceil(duration / clip_len - 1e-6))


def derive_saliency(
    windows: Iterable[Span], duration: float, clip_len: float
) -> tuple[tuple[int, ...], tuple[tuple[float, ...], ...]]:
    """Clips that a window covers by at least a quarter, each scored 1..4 by the share covered (one annotator)."""
    covered: dict[int, float] = {}
    clips = math.inf if math.isinf(duration) else clips_of(duration, clip_len)
    for start, end in windows:
        for clip in range(int(start // clip_len), int(min(clips, math.ceil(end / clip_len)))):
            begin, stop = clip * clip_len, min((clip + 1) * clip_len, duration)
            share = max(0.0, min(end, stop) - max(start, begin)) / max(stop - begin, 1e-6)
            covered[clip] = covered.get(clip, 0.0) + share
    bar = min(0.25, max(covered.values(), default=0.0))  # a window shorter than a quarter of a clip still has its clip
    clip_ids = tuple(clip for clip, share in sorted(covered.items()) if share >= bar and share > 0)
    return clip_ids, tuple((float(max(1, round(MAX_SALIENCY * min(covered[clip], 1.0)))),) for clip in clip_ids)


def _windows(fields: Fields, table: list[list[float]], duration: float, name: str) -> tuple[Span, ...]:
    windows = []
    for start, end, *_ in table:
        try:
            windows.append(checked_window(start, end, duration, name))
        except InputError as error:
            fields.mistakes.append(str(error))
    return tuple(windows)


def _saliency(fields: Fields, clip_ids: Any, scores: Any, duration: float, clip_len: float) -> tuple[tuple, tuple]:
    """Relevant clips and a row of scores for each; what is wrong is noted."""
    if not isinstance(clip_ids, list) or not isinstance(scores, list):
        fields.mistakes.append("relevant_clip_ids and saliency_scores are no lists")
        return (), ()
    if len(clip_ids) != len(scores):
        fields.mistakes.append(f"{len(clip_ids)} relevant_clip_ids but {len(scores)} saliency_scores")
    last = (WEEK if math.isinf(duration) else clips_of(duration, clip_len)) - 1
    if outside := [clip for clip in clip_ids if type(clip) is not int or not 0 <= clip <= last]:
        fields.mistakes.append(f"relevant_clip_ids {shown(outside)} lie outside 0..{last:.0f}")
    elif len(set(clip_ids)) < len(clip_ids):
        twice = next(clip for clip in clip_ids if clip_ids.count(clip) > 1)
        fields.mistakes.append(f"relevant_clip_ids: {twice} stands twice")
    lines = [line if isinstance(line, list) else [line] for line in scores]
    values = Fields({"saliency_scores": lines}, "qid")
    rows = values.table("saliency_scores", "a row of annotators' scores, as many as in every other")
    fields.mistakes += values.mistakes
    if any(not 0 <= value <= MAX_SALIENCY for line in rows or [] for value in line):
        fields.mistakes.append(f"saliency scores go from 0 to {MAX_SALIENCY}")
    return tuple(clip_ids), tuple(tuple(line) for line in rows or [])
