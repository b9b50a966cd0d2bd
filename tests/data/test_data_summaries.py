"""Summaries and what goes with them: transcripts from subtitles, How2's files, mistakes with their lines."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.montage.scenes import make_scene, summary_row
from read.data import Summary, load_how2, load_summaries, with_transcripts
from read.errors import InputError
from read.files import write_jsonl

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)
GOOD = {"vid": "a", "transcript": "we cross the bridge", "summary": "a bridge is crossed"}


def write(path, *rows):
    write_jsonl(path, list(rows))
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "summaries.jsonl"


def test_real_summaries(footage):
    summaries = load_summaries(footage / "summaries.jsonl")
    assert [summary.vid for summary in summaries] == ["hello", "box", "cup", "bikes"]
    assert summaries[0].transcript.startswith("hello everyone today")
    assert not any(summary.silent for summary in summaries)


def test_summaries_of_the_montage(file):
    rows = [summary_row(make_scene(f"target_test_{number:04d}", "target", 0)) for number in range(3)]
    assert [summary.row() for summary in load_summaries(write(file, *rows))] == rows


@given(rows=st.lists(st.tuples(TEXT, TEXT.filter(str.strip), st.sampled_from(["", "train", "test"])), min_size=1))
def test_what_is_written_is_read_again(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("summaries") / "summaries.jsonl"
    made = [Summary(f"v{n}", said.strip(), told.strip(), side) for n, (said, told, side) in enumerate(rows)]
    assert load_summaries(write(file, *(summary.row() for summary in made))) == made


def test_a_silent_video_is_kept_and_can_be_counted(file):
    silent = [{"transcript": ""}, {"transcript": None}, {"transcript": " \n"}]
    rows = [GOOD, *(GOOD | {"vid": f"v{n}"} | change for n, change in enumerate(silent)), {"vid": "b", "summary": "s"}]
    summaries = load_summaries(write(file, *rows))
    assert [summary.silent for summary in summaries] == [False, True, True, True, True]
    assert summaries[-1] == Summary("b", "", "s")


def test_all_mistakes_with_their_lines(file):
    wrong = [
        ({"summary": " "}, "video b: summary is empty"),
        ({"summary": None}, "video b: lacks summary"),
        ({"transcript": ["we", "cross"]}, "video b: transcript is ['we', 'cross'], not a text"),
        ({"vid": "../b"}, "vid '../b' is no plain file name"),
        ({"split": "tets"}, "video b: split is 'tets', not one of train, val, test"),
        ({"vid": "a"}, "video a stands already on line 1"),
    ]
    rows = [GOOD, *(GOOD | {"vid": "b"} | change for change, _ in wrong), {"vid": "c"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n[]\n")
    with pytest.raises(InputError) as error:
        load_summaries(file)
    reasons = [
        *(reason for _, reason in wrong),
        "video c: lacks summary",
        "not JSON: Expecting property name",
        "not a JSON object",
    ]
    for number, (reason, line) in enumerate(zip(reasons, str(error.value).splitlines(), strict=True), start=2):
        assert line.startswith(f"{file}:{number}: {reason}")


def test_no_summaries_at_all(file):
    with pytest.raises(InputError, match="no such file of summaries"):
        load_summaries(file)
    with pytest.raises(InputError, match=r"summaries\.jsonl: holds no summary"):
        load_summaries(write(file))


def test_transcripts_from_a_folder_fill_what_is_absent(file, tmp_path):
    for vid in ("a", "b"):
        (tmp_path / f"{vid}.vtt").write_text(f"WEBVTT\n\n00:01.000 --> 00:02.000\nthis is {vid}\n")
    rows = [GOOD, *({"vid": vid, "summary": "s"} for vid in "bc")]
    found = with_transcripts(load_summaries(write(file, *rows)), tmp_path)
    assert [summary.transcript for summary in found] == [GOOD["transcript"], "this is b", ""]


def test_transcripts_that_cannot_be_had(file, tmp_path):
    summaries = load_summaries(write(file, *({"vid": vid, "summary": "s"} for vid in "abc")))
    with pytest.raises(InputError, match="nowhere: no such folder of subtitles"):
        with_transcripts(summaries, tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no \.srt or \.vtt file"):
        with_transcripts(summaries, tmp_path)
    (tmp_path / "a.en.vtt").write_text("WEBVTT\n")
    with pytest.raises(InputError, match=r"no file is named by .* 3 videos .* as a\.vtt; there is a\.en\.vtt"):
        with_transcripts(summaries, tmp_path)
    for vid in "ab":
        (tmp_path / f"{vid}.srt").write_text("nonsense")
    with pytest.raises(InputError) as error:
        with_transcripts(summaries, tmp_path)
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        str(tmp_path / "a.srt"), str(tmp_path / "b.srt"),
    ]  # fmt: skip


def how2(folder, sources, targets):
    (folder / "tran.tok.txt").write_text(sources)
    (folder / "desc.tok.txt").write_text(targets)
    return folder / "tran.tok.txt", folder / "desc.tok.txt"


def test_how2_is_joined_by_id_in_the_order_of_the_summaries(tmp_path):
    files = how2(tmp_path, "x1 so you want\ty2\nz \nx2   to learn\n", "x2 learn to play .\nx1 tune a ukulele .\nz s\n")
    assert load_how2(*files, split="test") == [
        Summary("x2", "to learn", "learn to play .", "test"),
        Summary("x1", "so you want\ty2", "tune a ukulele .", "test"),
        Summary("z", "", "s", "test"),
    ]


def test_how2s_own_lines(mirror, tmp_path):
    told = (mirror / "how2" / "test.tgt").read_text(encoding="utf-8").splitlines()
    targets = "".join(f"id{number} {line}\n" for number, line in enumerate(told))
    sources = "".join(f"id{number} so {number}\n" for number in reversed(range(len(told))))
    summaries = load_how2(*how2(tmp_path, sources, targets))
    assert [summary.summary for summary in summaries] == [line.strip() for line in told]
    assert all(summary.transcript == f"so {summary.vid[2:]}" for summary in summaries)


@pytest.mark.parametrize(
    ("sources", "targets", "reasons"),
    [
        ("a x\n", "a x\nb x\nc x\n", ["tran.tok.txt: lacks b, c, which"]),
        ("a x\nb x\n", "a x\n", ["desc.tok.txt: lacks b, which"]),
        ("a x\na y\n/b x\n", "a x\n", ["tran.tok.txt:2: video a stands already on line 1", "tran.tok.txt:3: id '/b'"]),
        ("a x\n", "a\n", ["desc.tok.txt:1: video a: summary is empty"]),
        ("a x\n", "\n", ["desc.tok.txt: holds no line"]),
    ],
)
def test_how2s_mistakes(tmp_path, sources, targets, reasons):
    with pytest.raises(InputError) as error:
        load_how2(*how2(tmp_path, sources, targets))
    lines = str(error.value).splitlines()
    assert len(lines) == len(reasons)
    assert all(reason in line for reason, line in zip(reasons, lines, strict=True))


def test_how2s_files_that_are_no_text(tmp_path):
    sources, targets = how2(tmp_path, "a x\n", "a x\n")
    targets.write_bytes(b"a caf\xe9\n")
    with pytest.raises(InputError, match=r"desc\.tok\.txt:1: not a text in UTF-8"):
        load_how2(sources, targets)
    with pytest.raises(InputError, match="gone: no such file"):
        load_how2(tmp_path / "gone", targets)
