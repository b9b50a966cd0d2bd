"""Formats, read back by other programs' parsers."""

import csv
import io
import json
import re
import subprocess

import pytest

from read.commands.formats import (
    Asked,
    Found,
    Result,
    chapters,
    clock,
    csv_head,
    csv_rows,
    json_lines,
    srt,
    table,
)
from read.encoders.program import ffmpeg_binary

pytest_plugins = ["tests.packed"]
QUERY = 'größer; = #1 \\ a "dog", 🐕\nrunning | jumping'
RESULT = Result(
    "a, b.mp4", 7322.0, 2.0, "read", 0.5,
    [
        Asked(QUERY, [Found(3723.25, 3730.0, 0.91234), Found(2.0, 4.5, 0.4, confident=False)], [0.5, 1.5]),
        Asked("nothing at all", [], [0.0, 0.0]),
        Asked("a cat", [Found(4.0, 12.0, 0.8, clip="cuts/x.mp4")], [1.0, 2.0]),
    ],
    "A dog runs.",
)  # fmt: skip


def test_json_lines_are_objects_that_hold_all():
    first, second, third, summary = map(json.loads, json_lines(RESULT).splitlines())
    assert first["query"] == QUERY and first["saliency"] == [0.5, 1.5] and first["threshold"] == 0.5
    assert first["moments"][0] == {"start": 3723.25, "end": 3730.0, "score": 0.91234, "confident": True}
    assert second["moments"] == [] and third["moments"][0]["clip"] == "cuts/x.mp4"
    assert summary == {"video": "a, b.mp4", "duration": 7322.0, "summary": "A dog runs."}


def test_csv_reads_back():
    rows = list(csv.DictReader(io.StringIO(csv_head() + csv_rows(RESULT), newline="")))
    assert [(row["video"], row["query"], row["rank"]) for row in rows] == [
        ("a, b.mp4", QUERY, "1"), ("a, b.mp4", QUERY, "2"), ("a, b.mp4", "a cat", "1"),
    ]  # fmt: skip
    assert float(rows[0]["start"]) == 3723.25 and rows[1]["confident"] == "False"


def test_subtitles_are_in_the_order_of_time(tmp_path):
    webvtt = pytest.importorskip("webvtt")
    (tmp_path / "x.srt").write_text(srt(RESULT), encoding="utf-8")
    captions = webvtt.from_srt(tmp_path / "x.srt").captions
    assert [(caption.start, caption.end) for caption in captions] == [
        ("00:00:02.000", "00:00:04.500"), ("00:00:04.000", "00:00:12.000"), ("01:02:03.250", "01:02:10.000"),
    ]  # fmt: skip
    assert captions[1].text == "a cat" and captions[2].text == QUERY.replace("\n", " ")
    assert re.match(r"1\n00:00:02,000 --> 00:00:04,500\n", srt(RESULT))


@pytest.mark.video
def test_ffmpeg_puts_the_chapters_into_a_file(videos, tmp_path):
    short = Result("x", 9.5, 2.0, asked=[Asked(QUERY, [Found(4, 8, 0.9)], []), Asked("b", [Found(1, 5, 0.3)], [])])
    (tmp_path / "marks").write_text(chapters(short), encoding="utf-8")
    command = [ffmpeg_binary(), "-v", "error", "-i", f"file:{videos / 'party.mp4'}", "-i", f"file:{tmp_path / 'marks'}"]
    subprocess.run([*command, "-map_chapters", "1", "-codec", "copy", tmp_path / "out.mkv"], check=True)
    command = [ffmpeg_binary(), "-v", "error", "-i", tmp_path / "out.mkv", "-f", "ffmetadata", "-"]
    said = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    titles = [re.sub(r"\\(.)", r"\1", title) for title in re.findall(r"^title=(.*)$", said, re.MULTILINE)]
    assert titles == ["b", QUERY.replace("\n", " ")]
    starts = [int(number) for number in re.findall(r"^START=(\d+)$", said, re.MULTILINE)]
    ends = [int(number) for number in re.findall(r"^END=(\d+)$", said, re.MULTILINE)]
    assert starts[1] == 4 * starts[0] and ends[0] == starts[1] and ends[1] == 2 * starts[1]


def test_chapters_of_one_start_do_not_become_empty():
    same = Result("x", 9, 2.0, asked=[Asked("a", [Found(1, 5, 0.9)], []), Asked("b", [Found(1, 3, 0.9)], [])])
    spans = re.findall(r"START=(\d+)\nEND=(\d+)", chapters(same))
    assert spans == [("1000", "3000"), ("1000", "5000")]


def test_the_table_is_for_people():
    text = table(RESULT)
    assert text.startswith("a, b.mp4  2:02:02.0\n")
    assert "1:02:03.2 - 1:02:10.0" in text and "below 0.50" in text and "cuts/x.mp4" in text
    assert "nothing" in text and "summary: A dog runs." in text
    assert text.count("below") == 1


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.0"), (59.96, "1:00.0"), (754.04, "12:34.0"), (3600, "1:00:00.0"), (86399.9, "23:59:59.9")],
)
def test_clock(seconds, shown):
    assert clock(seconds) == shown


def test_what_is_not_there_is_said():
    absent = Asked("a bicycle", [Found(0.0, 4.0, 0.2, confident=False)], [0.1], present=False, unknown=["bicycle"])
    text = table(Result("a.mp4", 8.0, 2.0, "read", 0.5, [absent, Asked("a cat", [], [0.1], present=False)]))
    assert text.count("not in this video") == 2 and "unknown to this model: bicycle" in text and "nothing" not in text
    result = Result("a.mp4", 8.0, 2.0, "read", 0.5, [absent], caution="the bar was chosen on few")
    assert "not in this video, as far as the model can tell (the bar was chosen on few)" in table(result)
    row = json.loads(json_lines(result))
    assert row["present"] is False and row["unknown_words"] == ["bicycle"] and row["caution"] == result.caution
