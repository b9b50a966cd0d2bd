"""Labels that leave in a form come back from it as they were, and what cannot be understood is told with its line."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from read.data.transcripts import load_cues
from read.errors import InputError
from read.studio.formats import FORMATS
from read.studio.formats._form import clock, seconds_of, video_named
from read.studio.labels import Brought, Imported, Label, Labels, Window

LENGTHS = {
    "walk": 30.0,
    "Über den Fluß": 60.0,
    "-x.tar": 3700.0,
    "later": None,
    "a\\b": 30.0,
    "b": 30.0,
    "spaced  ": 30.0,
}
SEEN = st.characters(categories=("L", "N", "P", "S"))  # of which a sentence has one at least
TEXT = st.builds(
    "{}{}{}".format, st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=15), SEEN,
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=14),
).map(str.strip)  # fmt: skip
HARD = st.sampled_from(
    [
        "=1+1",
        "'=x",
        "''@x",
        "-->",
        "<i>a</i>",
        "a & b &amp; c",
        'say "hi", now;',
        "a\u2028b",
        "12",
        "0:00:01.0",
        "{\\an8}up",
        "#a",
    ]
)


@st.composite
def labels(draw, vids=tuple(LENGTHS), scores=True):
    """Labels with moments to the millisecond, none of one video with the sentence of another."""
    found = []
    keys = draw(st.lists(st.tuples(st.sampled_from(vids), st.one_of(TEXT, HARD)), max_size=4, unique=True))
    for number, (vid, query) in enumerate(keys):
        times = sorted(draw(st.lists(st.integers(0, 29_999), min_size=2, max_size=6, unique=True)))
        spans = zip(times[::2], times[1::2], strict=False)
        score = st.one_of(st.none(), st.integers(0, 4)) if scores else st.none()
        windows = tuple(Window(start / 1000, end / 1000, draw(score)) for start, end in spans)
        line = {"qid": number, "query": query, "vid": vid, "relevant_windows": [[w.start, w.end] for w in windows]}
        found.append(Label(number, vid, query, windows, False, "train", "", line))
    return found


def told(found):
    return sorted((one.vid, " ".join(one.query.split()), one.windows) for one in found)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(labels())
def test_a_table_brings_back_what_it_took(found):
    text = FORMATS["csv"].write(found, LENGTHS)
    for row in csv.reader(io.StringIO(text)):
        assert not any(cell[:1] in "=+-@" and cell for cell in row), "spreadsheets would take it for a formula"
    again, mistakes = FORMATS["csv"].read(text, "", LENGTHS)
    assert mistakes == [] and told(again) == told(found)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(labels(vids=("walk",), scores=False), st.sampled_from(["webvtt", "srt", "elan"]))
def test_a_file_of_one_video_brings_back_what_it_took(found, kind):
    again, mistakes = FORMATS[kind].read(FORMATS[kind].write(found, LENGTHS), "walk", LENGTHS)
    joined = {}
    for label in found:  # subtitles know no two spaces
        joined.setdefault(" ".join(label.query.split()) if kind != "elan" else label.query, []).extend(label.windows)
    assert mistakes == []
    assert {one.query: sorted(one.windows, key=lambda w: w.start) for one in again} == {
        query: sorted(windows, key=lambda w: w.start) for query, windows in joined.items()
    }


@settings(max_examples=30, deadline=None, derandomize=True)
@given(labels())
def test_lines_bring_back_all_that_they_say(found):
    text = FORMATS["jsonl"].write(found, LENGTHS)
    again, mistakes = FORMATS["jsonl"].read(text, "", LENGTHS)
    assert mistakes == [] and [dict(one.line) for one in again] == [dict(label.line) for label in found]


def read(kind, text, vid="walk"):
    return FORMATS[kind].read(text, vid, LENGTHS)


JUMPS = Imported("walk", "a dog, jumps", (Window(2.0, 4.5),), "line 2")


@pytest.mark.parametrize(
    "text",
    [
        'vid,start,end,query\nwalk,2,4.5,"a dog, jumps"\n',
        '\ufeff"Video";"Start (s)";"End (s)";"Sentence"\r\nWALK.MP4;0:02;0:00:04,500;a dog, jumps\r\n',
        "file_name\tBegin Time\tEnd Time\tcaption\tduration\nclips\\walk.mov\t2.0\t00:04.5\ta dog, jumps\t30\n",
        'end,query,vid,start,score\n"4,5","a dog, jumps",./walk.avi,2,\n\n',
    ],
)
def test_tables_of_many_kinds_are_understood(text):
    assert read("csv", text) == ([JUMPS], [])


def test_rows_of_one_sentence_are_moments_of_one_label():
    (one,), mistakes = read("csv", "vid,start,end,query,score\nwalk,2,4,a,1\nwalk,6,8,a,\nwalk,9,10,a,4.0\n")
    assert one.windows == (Window(2, 4, 1), Window(6, 8), Window(9, 10, 4)) and mistakes == []


@pytest.mark.parametrize(
    "kind, text, expected",
    [
        ("csv", "", ["line 1: has to name the columns"]),
        ("csv", "walk,2,4,a dog\n", ["line 1: no column 'walk' is known"]),
        ("csv", "vid,start,end,query,scores\n", ["did you mean score?"]),
        ("csv", "vid,begin,start,end,query\n", ["line 1: two columns are a start"]),
        ("csv", "vid,start,query\n", ["it lacks end"]),
        (
            "csv",
            "vid,start,end,query,score\nwalk,two,4,a,\nwlak,2,4,a,7\n\nwalk,2000,4500,a,\nwalk,4,2,a,\nwalk,1\n"
            'walk,2,4,"two\nlines",\nlater,1,2,fine,\nwalk,1,2,,\n',
            [
                "line 2: 'two' is no time", "line 3: there is no video 'wlak' in the folder; did you mean walk?; the",
                "line 5: the moment 2000 to 4500 s lies outside the video, which lasts 30 s; are these milliseconds?",
                "line 6: the moment 4 to 2 s ends before it starts", "line 7: has 2 cells",
                "line 8: the sentence holds a control character", "line 11: the sentence is empty",
            ],
        ),
        ("csv", 'vid,start,end,query\nwalk,1,2,"open\n', ["line 2: unexpected end of data"]),
        ("webvtt", "no subtitles", ["line 1: not VTT, which begins with WEBVTT"]),
        ("webvtt", "WEBVTT\n\n00:01 --> 00:40.000\na\n", ["line 3: '00:01 --> 00:40.000' is no time"]),
        ("webvtt", "WEBVTT\n\n00:01.000 --> 00:40.000\na\n", ["line 3: the moment 1 to 40 s lies outside the video"]),
        ("srt", "1\n00:00:05,000 --> 00:00:04,000\na\n", ["line 2: the caption 00:00:05,000 --> 00:00:04,000 ends"]),
        ("jsonl", '{\n[]\n{"qid": 1}', ["line 1: not JSON", "line 2: not a JSON", "line 3: qid 1: lacks"]),
        (
            "jsonl",
            '{"qid": 1, "query": "a", "vid": "wlak", "relevant_windows": [[0, 1]]}\n'
            '{"qid": 2, "query": "a", "vid": "walk", "relevant_windows": [[0, 750]]}\n',
            ["line 1: there is no video 'wlak' in the folder; did you mean walk?", "line 2: qid 2: a window ends at"],
        ),
        ("elan", "a\tb\nc\td\n", ["line 1: no columns with begin, end and annotation"]),
        ("elan", "T\tBegin Time - msec\tDuration - msec\tA\nT\t1\t2\ta\n", ["line 1: names no begin and end"]),
        (
            "elan",
            "Tier\tBegin Time - msec\tEnd Time - msec\tDuration - msec\tAnnotation\n"
            "T\t1000\t2000\t1000\t\nT\t1000\tx\t1000\ta\nT\t1000\t2000\t1\ta\n",
            ["line 2: the annotation is empty", "line 3: 'x' is no time in the form msec", "line 4: begin, end and"],
        ),
    ],
)  # fmt: skip
def test_all_mistakes_are_told_with_their_lines(kind, text, expected):
    _, mistakes = read(kind, text)
    assert len(mistakes) == len(expected)
    for mistake, part in zip(mistakes, expected, strict=True):
        assert part in mistake


@pytest.mark.parametrize(
    "text",
    [
        "default\t\t00:00:02.000\t00:00:04.500\t00:00:02.500\ta dog, jumps\n",
        "default\tAnna\t00:00:02.000\t2.0\t2000\t00:00:04.500\t4.5\t4500\t00:00:02.500\t2.5\t2500\ta dog, jumps\n",
        "12\t\t2000\t4500\t2500\ta dog, jumps\n",
        "12\t2000\t4500\ta dog, jumps\n",
        '"#file:///home/a/walk.eaf"\n'
        "Begin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tDuration - hh:mm:ss.ms\tscene\tspeech\n"
        "00:00:02.000\t00:00:04.500\t00:00:02.500\ta dog, jumps\t\n",
        "Tier\tParticipant\tTemps de départ - ss.msec\tTemps de fin - ss.msec\tDurée - ss.msec\tTexte\tFile\n"
        "T\t\t2.0\t4.5\t2.5\ta dog, jumps\twalk.eaf\n",
        "Tier\tBegin Time - hh:mm:ss:ff (PAL)\tBegin Time - msec\tEnd Time - hh:mm:ss:ff (PAL)\tEnd Time - msec\t\n"
        "T\t00:00:02:00\t2000\t00:00:04:12\t4500\ta dog, jumps\n",
    ],
)
def test_what_elan_exports_is_understood_in_its_many_forms(text):
    (one,), mistakes = read("elan", text)
    assert (one.query, one.windows, mistakes) == ("a dog, jumps", JUMPS.windows, [])


def test_annotations_of_several_tiers_are_labels_each():
    text = "Begin Time - msec\tEnd Time - msec\tscene\tspeech\n0\t1000\ta\tb\n1000\t2000\ta\t\n"
    found, mistakes = read("elan", text)
    assert {one.query: len(one.windows) for one in found} == {"a": 2, "b": 1} and mistakes == []


@pytest.mark.parametrize("unit, told", [(1000, "are these milliseconds?"), (25, "are these frames?")])
def test_times_in_another_unit_are_told_as_such(unit, told):
    rows = "".join(f"walk,{start * unit},{(start + 2) * unit},s{start}\n" for start in range(0, 24, 4))
    _, mistakes = read("csv", f"vid,start,end,query\n{rows}")
    assert len(mistakes) >= 5 and all(mistake.endswith(f"which lasts 30 s; {told}") for mistake in mistakes)


def test_players_read_the_subtitles_that_are_written(tmp_path):
    label = Label(1, "walk", "cats & <dogs>", (Window(2, 4.5), Window(6, 7)), False, "", "")
    for kind in ("webvtt", "srt"):
        path = tmp_path / f"walk{FORMATS[kind].suffix}"
        path.write_text(FORMATS[kind].write([label], LENGTHS), encoding="utf-8")
        assert [(cue.start, cue.end, cue.text) for cue in load_cues(path)] == [
            (2, 4.5, "cats & <dogs>"), (6, 7, "cats & <dogs>"),
        ]  # fmt: skip


@pytest.mark.parametrize(
    "name, vid",
    [("walk", "walk"), ("WALK.mp4", "walk"), ("a/b/walk.MOV", "walk"), ("C:\\a\\walk.avi", "walk"),
     ("-x.tar", "-x.tar"), ("-X.TAR.mkv", "-x.tar"), ("über den fluss", "Über den Fluß")],
)  # fmt: skip
def test_a_video_is_found_by_what_people_call_its_file(name, vid):
    assert video_named(name, LENGTHS) == vid


def test_a_video_that_may_be_two_is_neither():
    with pytest.raises(InputError, match="may be Walk or wALK"):
        video_named("WALK", {"Walk": 1.0, "wALK": 1.0})
    assert video_named("Walk", {"Walk": 1.0, "wALK": 1.0}) == "Walk"


@given(st.integers(0, 7 * 24 * 3_600_000))
def test_a_clock_is_read_as_it_is_written(milliseconds):
    assert seconds_of(clock(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)
    assert seconds_of(clock(milliseconds / 1000, ",")) == seconds_of(clock(milliseconds / 1000))


@pytest.mark.parametrize("text", ["", "x", "-1", "1:2:3:4", "1:60", "1e3", "nan", "٣", "1_0", "1 2"])
def test_what_is_no_time_is_told(text):
    with pytest.raises(InputError, match="is no time"):
        seconds_of(text)


def test_what_a_store_gives_it_knows_again(tmp_path):
    store = Labels(tmp_path)
    store.add("walk", "=1+1; a dog, jumps", [Window(0.125, 4.5), Window(6, 7)], 30.0)
    store.add("walk", "<b> & c", [Window(2, 9.999)], 30.0)
    store.add("Über den Fluß", "a dog, jumps", [Window(2, 4.5)], 60.0)
    for kind, form in FORMATS.items():
        for vid in ("walk", "Über den Fluß") if form.per_video else ("",):
            own = [label for label in store.all() if vid in ("", label.vid)]
            found, mistakes = form.read(form.write(own, LENGTHS), vid, LENGTHS)
            assert store.bring(found, LENGTHS, mistakes) == Brought(0, len(own)), kind
    again = Labels(tmp_path / "again")
    again.bring(FORMATS["jsonl"].read(FORMATS["jsonl"].write(store.all(), LENGTHS), "", LENGTHS)[0], LENGTHS)
    assert again.annotations.read_bytes() == store.annotations.read_bytes()
    again.close()
    store.close()
