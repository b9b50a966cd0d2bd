"""Captions as queries: fragments joined, noise left out, mistakes with their lines."""

import json

import pytest

from read.data import load_annotations
from read.data.subtitles import caption_rows, load_captions
from read.errors import InputError


def write(path, rows, vid="talk", duration=60.0):
    lines = [{"vid": vid, "duration": duration, "start": s, "end": e, "text": text} for s, e, text in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def queries(path):
    return [(row["query"], *row["relevant_windows"][0]) for row in caption_rows(load_captions(path))]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "subtitles.jsonl"


def test_a_caption_is_a_query_and_its_time_the_window(file):
    write(file, [(3.0, 6.5, "now we cross the old bridge"), (10.0, 12.0, "and there is the river")])
    assert queries(file) == [("now we cross the old bridge", 3.0, 6.5), ("and there is the river", 10.0, 12.0)]


def test_rows_are_annotations(file, tmp_path):
    write(file, [(3.0, 6.5, "now we cross the old bridge"), (10.0, 60.04, "and there is the river"),
                 (20.0, 24.0, "it is deeper than it looks")])  # fmt: skip
    rows = caption_rows(load_captions(file))
    (tmp_path / "annotations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_annotations(tmp_path / "annotations.jsonl", 2.0)
    assert [annotation.qid for annotation in loaded] == ["talk#0", "talk#1"]
    assert all(annotation.clip_ids for annotation in loaded)


def test_fragments_are_joined_with_what_follows(file):
    write(
        file, [(1.0, 2.0, "so now"), (2.0, 3.0, "we cross"), (3.5, 6.0, "the old bridge"), (6.0, 8.0, "it is very old")]
    )
    assert queries(file) == [("so now we cross", 1.0, 3.0), ("the old bridge it is very old", 3.5, 8.0)]


def test_fragments_are_not_joined_over_a_pause_or_from_video_to_video(file):
    write(file, [(1.0, 2.0, "so now"), (9.0, 12.0, "we cross the old bridge")])
    assert queries(file) == [("we cross the old bridge", 9.0, 12.0)]
    other = write(file.with_name("other.jsonl"), [(0.5, 2.0, "two words")], vid="b")
    file.write_text(file.read_text() + other.read_text())
    assert len(queries(file)) == 1


def test_sounds_and_tags_are_no_speech(file):
    write(file, [(0, 2, "[Music]"), (2, 4, "(applause) thank you very much"), (4, 6, ">> and <i>now</i> to the news"),
                 (7, 9, "♪ la la la ♪")])  # fmt: skip
    assert [text for text, *_ in queries(file)] == ["thank you very much", "and now to the news"]


def test_a_rolling_caption_counts_once(file):
    write(file, [(0, 2, "we cross the old bridge"), (2, 4, "we cross the old bridge"), (4, 6, "and then we go home")])
    assert queries(file) == [("we cross the old bridge", 0, 4), ("and then we go home", 4, 6)]


def test_a_caption_over_half_the_video_is_no_moment(file):
    write(file, [(0.0, 40.0, "a title that stands for long"), (41.0, 45.0, "and then we go home")])
    assert queries(file) == [("and then we go home", 41.0, 45.0)]


def test_any_order_of_lines(file):
    write(file, [(10.0, 12.0, "and there is the river"), (3.0, 6.5, "now we cross the old bridge")])
    assert [start for _, start, _ in queries(file)] == [3.0, 10.0]


def test_all_mistakes_with_their_lines(file):
    good = {"vid": "a", "duration": 10.0, "start": 0.0, "end": 2.0, "text": "one two three four"}
    wrong = [{"end": -1.0}, {"end": 30.0}, {"vid": "../a"}, {"text": 5}, {"start": "0"}, {"duration": 11.0}]
    lines = [json.dumps(row) for row in [good, *({**good, **change} for change in wrong), {"vid": "a"}]] + ["{"]
    file.write_text("\n".join(lines))
    with pytest.raises(InputError) as error:
        load_captions(file)
    found = str(error.value).splitlines()
    assert [line.split(":")[1] for line in found] == [str(number) for number in range(2, 10)]
    reasons = ("ends before", "outside the video", "no plain file name", "not a text", "not a number",
               "lasts 11 s here, but 10 s above", "lacks", "")  # fmt: skip
    for line, reason in zip(found, reasons, strict=True):
        assert reason in line


def test_nothing_to_learn_from(file):
    with pytest.raises(InputError, match="no such subtitle file"):
        load_captions(file)
    write(file, [(0, 2, "[Music]")])
    with pytest.raises(InputError, match="holds no speech"):
        load_captions(file)
    write(file, [(0, 2, "well, hello")])
    with pytest.raises(InputError, match="none of 1 captions has 4 words or more"):
        queries(file)
