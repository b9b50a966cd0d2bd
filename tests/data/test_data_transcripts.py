"""Subtitles as transcripts: words only, rolling lines once, any encoding that says what it is, mistakes with lines."""

import codecs
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from read.data import load_transcript
from read.data.subtitles import caption_rows, load_captions
from read.data.transcripts import load_cues, subtitle_files
from read.errors import InputError

LINES = st.lists(st.text("abc ", min_size=1, max_size=8).map(lambda text: f"w{text}".strip()), min_size=1, max_size=8)

YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.070 align:start position:0%
 
hello<00:00:00.400><c> everyone</c><00:00:00.640><c> today</c>

00:00:02.070 --> 00:00:02.080 align:start position:0%
hello everyone today
 

00:00:02.080 --> 00:00:04.070 align:start position:0%
hello everyone today
i<00:00:02.240><c> will</c><00:00:02.400><c> show</c>

00:00:04.070 --> 00:00:04.080 align:start position:0%
i will show
 

00:00:04.080 --> 00:00:06.000 align:start position:0%
i will show
[Music] &gt;&gt; R&amp;D
"""

WEBVTT = """WEBVTT - a title

STYLE
::cue { color: red }

REGION
id:low width:40%

NOTE
nobody says this

1
00:01.000 --> 00:02.500 line:0 align:start
<v Ann>we <b>cross</b> <c.loud>the</c>

the bridge
00:00:03.000 --> 00:00:05.000 region:low
old bridge
(applause)
"""

SUBRIP = """1
00:00:01,000 --> 00:00:02,500
{\\an8}we <i>cross</i>
the

2
00:00:03,000 --> 00:00:05,000 X1:100 X2:200
old bridge

of
2020

3
00:00:07,000 --> 00:00:08,000
♪ la la ♪

4
00:00:09,000 --> 00:00:10,000
1999
"""


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def stamp(seconds, mark):
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{mark}250"


def subrip(lines):
    cues = enumerate(zip(range(0, 5000, 50), lines, strict=False), start=1)
    return "\n".join(f"{n}\n{stamp(s, ',')} --> {stamp(s + 40, ',')}\n{line}\n" for n, (s, line) in cues)


def webvtt(lines):
    cues = zip(range(0, 5000, 50), lines, strict=False)
    return "WEBVTT\n\n" + "\n".join(f"{stamp(s, '.')} --> {stamp(s + 40, '.')}\n{line}\n" for s, line in cues)


def rolling(lines):
    """As YouTube writes automatic captions: each line while it is spoken, below the one before; then alone, shortly."""
    shown = []
    for number, (above, line) in enumerate(pairwise([" ", *lines])):
        start, end = 2 * number, 2 * number + 2
        shown.append(f"{stamp(start, '.')} --> {stamp(end, '.')} align:start\n{above}\n{line}\n")
        shown.append(f"{stamp(end, '.')} --> {stamp(end, '.')} align:start\n{line}\n \n")
    return "WEBVTT\nKind: captions\n\n" + "\n".join(shown)


def test_youtubes_captions_count_once(tmp_path):
    file = write(tmp_path / "a.vtt", YOUTUBE)
    assert load_transcript(file) == "hello everyone today i will show R&D"
    assert [(cue.start, cue.end) for cue in load_cues(file)] == [(0.16, 2.07), (2.08, 4.07), (4.08, 6.0)]


def test_webvtt_with_all_its_blocks(tmp_path):
    cues = load_cues(write(tmp_path / "a.vtt", WEBVTT))
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [(1.0, 2.5, "we cross the"), (3.0, 5.0, "old bridge")]


def test_subrip_with_empty_lines_numbers_and_songs(tmp_path):
    assert load_transcript(write(tmp_path / "a.SRT", SUBRIP)) == "we cross the old bridge of 2020 1999"


@given(lines=LINES)
def test_all_forms_say_the_same(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("forms")
    wanted = " ".join(" ".join(lines).split())
    assert load_transcript(write(folder / "a.srt", subrip(lines))) == wanted
    assert load_transcript(write(folder / "a.vtt", webvtt(lines))) == wanted
    assert load_transcript(write(folder / "b.vtt", rolling(lines))) == wanted


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_ends_of_lines(tmp_path, end, encoding):
    for name, text in (("a.srt", subrip(["déjà vu", "où ?"])), ("a.vtt", webvtt(["déjà vu", "où ?"]))):
        assert load_transcript(write(tmp_path / name, text.replace("\n", end), encoding)) == "déjà vu où ?"


def test_another_encoding_is_named_and_not_guessed(tmp_path):
    file = write(tmp_path / "a.srt", subrip(["one", "déjà vu"]), "latin-1")
    with pytest.raises(InputError, match=r"a\.srt:7: not UTF-8 .*iconv"):
        load_cues(file)
    file.write_bytes(codecs.BOM_UTF16_LE + b"\x00")
    with pytest.raises(InputError, match=r"a\.srt:1: not UTF-8"):
        load_cues(file)


def test_a_line_said_twice_counts_twice_after_a_pause(tmp_path):
    assert load_transcript(write(tmp_path / "a.srt", subrip(["wait", "wait", "go"]))) == "wait wait go"


def test_a_silent_video(tmp_path):
    for name, text in (("a.srt", ""), ("b.srt", "\n\n"), ("a.vtt", "WEBVTT\n\n"), ("b.vtt", webvtt(["[Music]"]))):
        assert load_transcript(write(tmp_path / name, text)) == ""


@pytest.mark.parametrize(
    ("name", "text", "reasons"),
    [
        ("a.vtt", "", ["1: not VTT, which begins with WEBVTT"]),
        ("a.vtt", subrip(["x"]), ["1: not VTT, which begins with WEBVTT"]),
        ("a.srt", "nonsense", ["1: not SRT, which begins with the number and the time of a caption"]),
        ("a.srt", webvtt(["x"]), ["1: not SRT, which begins with the number and the time of a caption"]),
        (
            "a.vtt",
            "WEBVTT\n\n00:01 --> 00:02\nx\n\n00:02.000 --> 00:01.000\nx\n\n00:61.000 --> 00:62.000\nx\n\nx\n"
            "\ny\nz\n00:05.000 --> 00:06.000\nx\n",
            ["3: '00:01 --> 00:02' is no time of a caption, as 00:01:02.500 --> 00:01:04.000",
             "6: the caption 00:02.000 --> 00:01.000 ends before it starts", "9: '00:61.000 --> 00:62.000'",
             "12: 'x' has no time; does an empty line stand inside a caption?", "14: 'y' has no time"],
        ),
        (
            "a.srt",
            "1\n00:00:01,000 -> 00:00:02,000\nx\n\n2\n0:0:1,0 --> oops\n\nx\n00:00:01,000 --> 00:00:02,000\nx\n",
            ["2: '00:00:01,000 -> 00:00:02,000' is no time",
             "6: '0:0:1,0 --> oops' is no time of a caption, as 00:01:02,500", "9: no number stands right above"],
        ),
    ],
)  # fmt: skip
def test_mistakes_with_their_lines(tmp_path, name, text, reasons):
    with pytest.raises(InputError) as error:
        load_cues(write(tmp_path / name, text))
    lines = str(error.value).splitlines()
    assert len(lines) == len(reasons), lines
    assert all(line.startswith(f"{tmp_path / name}:{reason}") for line, reason in zip(lines, reasons, strict=True))


@given(text=st.text("0123456789:,.-> \nabWEBVTTNOTE\ufeff<&;", max_size=80), name=st.sampled_from(["a.srt", "a.vtt"]))
def test_no_text_ends_in_anything_but_an_input_error(tmp_path_factory, text, name):
    file = write(tmp_path_factory.mktemp("any") / name, text)
    try:
        load_transcript(file)
    except InputError as error:
        assert str(error).startswith(str(file))


def test_files_that_are_no_subtitles(tmp_path):
    with pytest.raises(InputError, match=r"a\.vtt: no such file of subtitles"):
        load_cues(tmp_path / "a.vtt")
    with pytest.raises(InputError, match=r"a\.txt: subtitles are read from \.srt and \.vtt files"):
        load_cues(write(tmp_path / "a.txt", "x"))


def test_a_folder_by_the_ids_of_its_videos(tmp_path):
    for name in ("c.d.vtt", "a.SRT", "readme.txt"):
        write(tmp_path / name, "")
    assert subtitle_files(tmp_path) == {"a": tmp_path / "a.SRT", "c.d": tmp_path / "c.d.vtt"}
    write(tmp_path / "a.vtt", "")
    with pytest.raises(InputError, match=r"a\.SRT and a\.vtt are both of video a"):
        subtitle_files(tmp_path)


def test_a_folder_of_subtitles_to_pretrain_on(tmp_path):
    write(tmp_path / "a.vtt", YOUTUBE)
    write(tmp_path / "b.srt", "1\n00:00:03,000 --> 00:00:06,500\nnow we cross the bridge\n\n"
                              "2\n00:00:20,000 --> 00:00:21,000\nthere\n")  # fmt: skip
    captions = load_captions(tmp_path)
    assert [caption.vid for caption in captions] == ["a"] * 3 + ["b"] * 2
    assert {caption.duration for caption in captions} == {None}  # the file of the video tells
    assert caption_rows(captions)[-1] == {
        "qid": "b#0", "query": "now we cross the bridge", "vid": "b", "relevant_windows": [[3.0, 6.5]],
    }  # fmt: skip


def test_mistakes_of_all_files_in_a_folder(tmp_path):
    for name in ("a.srt", "b.vtt"):
        write(tmp_path / name, "nonsense")
    with pytest.raises(InputError) as error:
        load_captions(tmp_path)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a < b and c > d", "a < b and c > d"),
        ("if x <y and z> w", "if x <y and z> w"),
        ("a <b and c> d", "a <b and c> d"),
        ("call f(x) and a[0], then stop", "call f(x) and a[0], then stop"),
        ("(applause) [Music] well (laughs) yes", "well yes"),
        ("a vector<int> or List<String>", "a vector<int> or List<String>"),
        ("<i>now</i> <b.loud>we</b> <c.yellow.bg_blue>cross</c><00:00:02.500><c> it</c>", "now we cross it"),
        ("<v Roger Bingham>hello</v> <lang en-GB>there</lang>", "hello there"),
        ('<font color="#fff">white</font><br>{\\an8}bread', "white bread"),
        ("write &lt;i&gt; for R&amp;D", "write <i> for R&D"),
        ("<I>LOUD</I>", "LOUD"),
    ],
)
@pytest.mark.parametrize("form", [subrip, webvtt])
def test_only_tags_of_subtitles_are_tags(tmp_path, form, text, said):
    suffix = {subrip: "srt", webvtt: "vtt"}[form]
    assert load_transcript(write(tmp_path / f"a.{suffix}", form([text]))) == said


def test_speech_in_brackets_that_came_from_elsewhere(shared):
    assert load_transcript(shared / "faults" / "subtitle-angle" / "talk.srt") == "call f(x) and stop"
