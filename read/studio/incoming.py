"""Labels that come from elsewhere, beside those that are here."""

from collections.abc import Callable, Mapping, Sequence

from read.errors import InputError
from read.rows import id_key, vid_of
from read.studio.checks import checked_sentence, checked_windows
from read.studio.label import Imported, Label, Lengths, annotators_of, label_of, length_of, settled, times_of
from read.studio.label_files import label_checker
from read.studio.tables import Exchanges, Record


def incoming(
    imported: Sequence[Imported],
    lengths: Lengths,
    lines: dict[str, Record],
    labels: Sequence[Label],
    clip_len: float,
    next_qid: Callable[[Mapping[str, Record]], int],
) -> tuple[Exchanges, int, list[str]]:
    """What is added, how many labels are here already, and what is wrong, each with its place.

    Args:
        imported: the labels; a sentence that is here with the same windows and scores counts as same.
        lengths: seconds of the videos, as far as they are known.
        lines: that are here, by their ids; those that are added come to them.
        labels: that are here.
        clip_len: seconds per clip.
        next_qid: an id that none of some lines has.
    """
    here = {(label.vid, label.query): label for label in labels}
    annotators = annotators_of(lines.values())
    added: Exchanges = []
    same, wrong = 0, []
    for one in imported:
        try:
            line = _line_of(one, lengths.get(one.vid), clip_len, annotators)
            if line["qid"] is None or id_key(line["qid"]) in lines:
                line["qid"] = next_qid(lines)
            made = label_of(line, "", clip_len)
            if (known := here.get((made.vid, made.query))) is None:
                lines[id_key(line["qid"])], here[made.vid, made.query] = line, made
                added.append((None, line))
            elif settled(known.windows) == settled(made.windows):
                same += 1
            else:
                raise InputError(f"{made.vid} has “{made.query}” already, with other moments; delete one of them")
        except InputError as error:
            wrong += [f"{one.place}: {part}".removeprefix(": ") for part in str(error).split("\n")]
    return added, same, wrong or (_clashes(lines, clip_len) if added else [])


def _line_of(one: Imported, duration: float | None, clip_len: float, annotators: int) -> Record:
    """A line for what was imported; a line of our own form stays as it is."""
    vid, query = vid_of(one.vid, "video"), checked_sentence(one.query)
    windows = checked_windows(one.windows, duration, clip_len)
    told = length_of(duration) | one.line
    if not one.line:
        told = times_of(windows, duration, clip_len, annotators)
    head = {"qid": one.line.get("qid"), "query": query, "vid": vid}
    return head | told | head


def _clashes(lines: Mapping[str, Record], clip_len: float) -> list[str]:
    """What is wrong with lines that are to stand in one file."""
    check = label_checker(clip_len)
    for number, line in enumerate(lines.values(), start=1):
        try:
            check(line, number)
        except InputError as error:
            return [str(error)]
    return []
