"""The command line as a shell sees it: what it prints, where, and its exit status."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from read.commands import main
from read.encoders.light import _needs_timm
from read.encoders.program import ffmpeg_binary, stated_seconds
from tests.bundles import TEXTS, folder_of
from tests.whisper import SAID, make_whisper, voice

pytest_plugins = ["tests.packed"]


@pytest.fixture
def run(packed, capsys, monkeypatch):
    """Runs a command in this process: status, stdout, stderr."""
    monkeypatch.setenv("READ_BUNDLE", str(packed))

    def command(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            status = stopped.code
        said = capsys.readouterr()
        return SimpleNamespace(status=status, out=said.out, err=said.err)

    return command


def shell(*arguments, **environment):
    """The same as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "read", *map(str, arguments)],
        capture_output=True, text=True, encoding="utf-8", env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.video
def test_json_has_a_line_for_each_video_and_query(run, videos):
    found = run(
        "predict", videos / "party.mp4", videos / "größe Ü.mp4", "--query", "ein Hund läuft 🐕", "--query", "rain",
        "--format", "json", "--top", 2,
    )  # fmt: skip
    rows = [json.loads(line) for line in found.out.splitlines()]
    assert (found.status, found.err) == (0, "")
    assert [row["query"] for row in rows] == ["ein Hund läuft 🐕", "rain"] * 2
    assert rows[3]["video"] == str(videos / "größe Ü.mp4")
    assert all(1 <= len(row["moments"]) <= 2 for row in rows)
    assert len(rows[0]["saliency"]) == 5 and rows[0]["adapter"] == "read_k2_s0" and rows[0]["threshold"] == 0.45


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_terminal_that_lacks_letters_gets_them_escaped(packed, videos, tmp_path, monkeypatch, form):
    """The name holds letters beyond latin-1, and a byte that is no text at all."""
    odd = os.fsdecode(os.fsencode(tmp_path) + "/кот é ".encode() + b"\xff.mp4")
    Path(odd).symlink_to(videos / "short.mp4")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["predict", "--bundle", str(packed), "--query", "rain", "--format", form, odd]) == 0
    terminal.flush()
    said = terminal.buffer.getvalue()
    if form == "table":
        assert rb"\u043a\u043e\u0442 " in said and "é".encode("latin-1") in said
    else:
        assert json.loads(said.decode("utf-8"))["video"] == odd


def test_one_adapter_of_several(run, videos):
    arguments = ("predict", videos / "party.mp4", "--query", "rain", "--format", "json")
    first, other = run(*arguments), run(*arguments, "--adapter", "adapter")
    assert json.loads(other.out)["adapter"] == "adapter" and first.out != other.out
    absent = run(*arguments, "--adapter", "adaptr")
    assert absent.status == 1 and "did you mean adapter" in absent.err and absent.out == ""
    lacking = run("predict", videos / "party.mp4", "--summary", "--adapter", "full")
    assert lacking.status == 1 and "for summarization the bundle has no adapter 'full'; there are read" in lacking.err


def test_queries_of_a_file_and_of_stdin(run, videos, tmp_path, monkeypatch):
    (tmp_path / "queries.txt").write_text("\ufeffthe first\r\n\n  größer \n", encoding="utf-8")
    arguments = ("predict", videos / "short.mp4", "--format", "csv", "--query", "zero", "--queries")
    rows = list(csv.DictReader(io.StringIO(run(*arguments, tmp_path / "queries.txt").out)))
    assert list(dict.fromkeys(row["query"] for row in rows)) == ["zero", "the first", "größer"]
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert run(*arguments, "-").out.count(",two,") >= 1
    (tmp_path / "empty.txt").write_text("\n \n")
    assert "holds no query" in run(*arguments, tmp_path / "empty.txt").err
    assert run(*arguments, tmp_path / "absent.txt").status == 1
    (tmp_path / "latin.txt").write_bytes("größer".encode("latin1"))
    assert "not a text in UTF-8" in run(*arguments, tmp_path / "latin.txt").err


@pytest.mark.video
def test_a_video_that_fails_does_not_stop_the_others(run, videos, tmp_path):
    arguments = ("predict", videos / "text.mp4", videos / "short.mp4", tmp_path / "absent.mp4", "--query", "rain")
    found = run(*arguments)
    assert found.status == 1
    assert "short.mp4" in found.out and "error" not in found.out
    assert "text.mp4: ffmpeg" in found.err and "absent.mp4: no such file" in found.err
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    other = run("predict", tmp_path, tmp_path / "link.mp4", "--query", "rain")
    assert f"{tmp_path}: is a folder; name the videos in it" in other.err
    assert f"link.mp4: is a link to {tmp_path / 'gone.mp4'}, which does not exist" in other.err
    assert "2 of 3 videos failed" in found.err
    assert run(*arguments, "--out", tmp_path / "table.txt").out == ""
    assert "short.mp4" in (tmp_path / "table.txt").read_text()
    assert run("predict", videos / "text.mp4", "--query", "rain", "--out", tmp_path / "none.txt").status == 1
    assert not (tmp_path / "none.txt").exists()


@pytest.mark.video
def test_clips_are_cut_and_last_as_long_as_the_moments(run, videos, tmp_path):
    found = run(
        "predict", videos / "party.mp4", "--query", "rain", "--query", "a dog", "--top", 2, "--format", "json",
        "--clips", tmp_path / "cuts",
    )  # fmt: skip
    moments = [moment for line in found.out.splitlines() for moment in json.loads(line)["moments"]]
    assert {moment["clip"] for moment in moments} == {str(path) for path in (tmp_path / "cuts").iterdir()}
    assert (tmp_path / "cuts/party-02-01.mp4").is_file()
    for moment in moments:
        assert stated_seconds(moment["clip"]) == pytest.approx(moment["end"] - moment["start"], abs=0.13)


def test_a_summary_of_what_is_said(run, videos, tmp_path):
    (tmp_path / "party.vtt").write_text(f"WEBVTT\n\n00:01.000 --> 00:03.000\n{TEXTS[0]}\n")
    (tmp_path / "short.txt").write_text(TEXTS[1])
    found = run("predict", videos / "party.mp4", videos / "short.mp4", "--summary", "--transcript", tmp_path,
                "--format", "json")  # fmt: skip
    rows = [json.loads(line) for line in found.out.splitlines()]
    assert found.status == 0 and all(row["summary"] for row in rows)
    alone = run("predict", videos / "party.mp4", "--summary", "--transcript", tmp_path / "party.vtt")
    assert f"summary: {rows[0]['summary']}\n" in alone.out
    absent = run("predict", videos / "text.mp4", "--summary", "--transcript", tmp_path)
    assert absent.status == 1 and "no transcript of" in absent.err


def test_a_summary_of_what_is_heard(run, videos, tmp_path):
    """As of a transcript with the same words; a video that cannot be heard hinders no other."""
    pytest.importorskip("faster_whisper")
    voice(3.0).tofile(tmp_path / "wave")
    sound = ["-f", "f32le", "-ar", "16000", "-ac", "1", "-i", tmp_path / "wave"]
    spoken = tmp_path / "spoken.mkv"
    subprocess.run([ffmpeg_binary(), "-v", "error", "-i", videos / "party.mp4", *sound, "-map", "0:v", "-map", "1:a",
                    "-c:v", "copy", spoken], check=True)  # fmt: skip
    (tmp_path / "said.txt").write_text(SAID)
    model = make_whisper(tmp_path / "model")
    told = run("predict", spoken, "--summary", "--transcript", tmp_path / "said.txt", "--format", "json")
    heard = run("predict", videos / "text.mp4", spoken, "--summary", "--transcribe", model, "--format", "json")
    assert json.loads(heard.out) == json.loads(told.out)
    assert heard.status == 1 and f"note: {spoken}: heard, in en: {SAID}\n" in heard.err
    absent = run("predict", spoken, "--summary", "--transcribe", tmp_path)
    assert absent.status == 1 and "no model of faster-whisper's" in absent.err


def test_files_for_players(run, videos, tmp_path):
    both = (videos / "party.mp4", videos / "short.mp4", "--query", "rain")
    assert run("predict", *both, "--format", "srt", "--out", tmp_path / "subtitles").status == 0
    assert {path.name for path in (tmp_path / "subtitles").iterdir()} == {"party.srt", "short.srt"}
    one = run("predict", videos / "party.mp4", "--query", "rain", "--format", "chapters")
    assert one.out.startswith(";FFMETADATA1\n")


def test_confident_moments_only(run, videos):
    arguments = ("predict", videos / "party.mp4", "--query", "rain", "--adapter", "full", "--format", "json")
    every, some = (json.loads(run(*arguments, *more).out)["moments"] for more in ((), ("--confident",)))
    assert some == [moment for moment in every if moment["confident"]]
    assert all(moment["confident"] == (moment["score"] >= 0.5) for moment in every)


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("juggle",), ("predict",), ("predict", "x.mp4"), ("predict", "x.mp4", "--query", "a", "--top", "0"),
        ("predict", "x.mp4", "--query", "a", "--format", "xml"), ("predict", "x.mp4", "--summary", "--format", "csv"),
        ("predict", "x.mp4", "--query", "a", "--transcript", "t.vtt"),
        ("predict", "x.mp4", "--query", "a", "--transcribe", "small"),
        ("predict", "x.mp4", "--summary", "--transcribe", "small", "--transcript", "t.vtt"),
        ("predict", "x.mp4", "--summary", "--language", "en"),
        ("predict", "x.mp4", "--summary", "--clips", "c"),
        ("predict", "x.mp4", "y.mp4", "--query", "a", "--format", "srt"),
        ("predict", "a/x.mp4", "b/x.mp4", "--query", "a", "--clips", "c"),
        ("predict", "x.mp4", "y.mp4", "--summary", "--transcript", "t.vtt"), ("export", "one"), ("info",),
    ],
)  # fmt: skip
def test_wrong_usage(run, arguments):
    found = run(*arguments)
    assert found.status == 2 and found.out == "" and "usage: read-adapters" in found.err


def test_no_bundle(run, videos, tmp_path, monkeypatch):
    monkeypatch.delenv("READ_BUNDLE")
    assert run("predict", videos / "short.mp4", "--query", "a").status == 2
    found = run("predict", videos / "short.mp4", "--query", "a", "--bundle", tmp_path)
    assert found.status == 1 and "config.json: no such file" in found.err
    assert run("info", tmp_path).status == 1


def test_an_empty_query_is_bad_input(run, videos):
    found = run("predict", videos / "short.mp4", "--query", " ")
    assert found.status == 1 and found.err == "error: query 1 of 1 is empty; a few words are due\n"


def test_info_prints_the_card(run, packed):
    found = run("info", packed)
    assert found.status == 0 and found.out.startswith("# toys\n")
    assert "Adapter `bias`" in found.out and "CC0-1.0" in found.out and "clip: trained by" in found.out
    assert json.loads(run("info", packed, "--json").out)["name"] == "toys"


def test_export_then_predict(run, workspace, videos, tmp_path):
    runs = [folder_of(workspace, "adapter/k2-s0"), folder_of(workspace, "read/k2-s0", "summarization")]
    found = run("export", *runs, tmp_path / "new")
    assert found.status == 0 and "grounding: adapter\nsummarization: read\n" in found.out
    both = run("predict", videos / "short.mp4", "--bundle", tmp_path / "new", "--query", "a", "--summary")
    assert both.status == 0 and "summary: " in both.out
    assert run("export", *runs, videos).status == 1
    assert "not public" in run("export", *runs, tmp_path / "other", "--without-encoders").err
    assert "trained by whoever" not in run("fetch", tmp_path / "new").err  # there is nothing to bring


def test_the_page_is_served_as_asked(run, packed, monkeypatch):
    app = pytest.importorskip("read.app")
    calls = []
    monkeypatch.setattr(app, "serve", lambda *given, **named: calls.append((given, named)))
    assert run("app", packed, "--port", "0", "--max-mb", "2", "--max-minutes", "1.5", "--max-disk-gb", "3").status == 0
    named = {
        "device": "auto",
        "open_browser": False,
        "max_bytes": 2 * 1024**2,
        "max_seconds": 90,
        "max_disk": 3 * 1024**3,
    }
    assert calls == [((str(packed), "127.0.0.1", 0), named)]


def test_a_real_process(packed, videos):
    """Encoders' packages are imported light here, and whole in this process: the answer is the same."""
    arguments = ("predict", videos / "größe Ü.mp4", videos / "text.mp4", "--query", "läuft 🐕", "--format", "json")
    done = shell(*arguments, READ_BUNDLE=str(packed))
    assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 2
    (row,) = map(json.loads, done.stdout.splitlines())
    from read.predictor import Predictor

    (answer,) = Predictor.from_bundle(packed).encode(videos / "größe Ü.mp4").answer(["läuft 🐕"])
    assert row["saliency"] == answer.saliency


def test_help_is_quick_because_nothing_heavy_is_imported(packed):
    code = (
        "import sys; from read.commands import main\n"
        "try: main(['predict', '--help'])\n"
        "except SystemExit: pass\n"
        f"main(['info', {str(packed)!r}])\n"
        "print(*(name for name in ('torch', 'numpy', 'yaml') if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "" and "exit status is 1" in done.stdout


def test_a_closed_pipe_is_no_traceback(packed):
    command = f"{sys.executable} -m read info {packed} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == "# toys\n" and done.stderr == ""


def test_models_with_towers_of_other_packages_import_them():
    assert _needs_timm("ViT-B-16-SigLIP") and _needs_timm("roberta-ViT-B-32")
    assert not _needs_timm("clip_tiny") and not _needs_timm("ViT-B-32")


def test_what_is_not_in_the_video(run, videos):
    arguments = ("predict", videos / "party.mp4", "--query", "the DOG rides", "--format")
    (row,) = [json.loads(line) for line in run(*arguments, "json", "--adapter", "full").out.splitlines()]
    assert row["present"] == any(moment["score"] >= 0.5 for moment in row["moments"])
    assert row["unknown_words"] == ["rides"]
    table = run(*arguments, "table").out
    assert "unknown to this model: rides" in table
    told = run(*arguments, "csv")
    assert told.status == 0 and "note: the DOG rides: unknown to this model: rides" in told.err


def test_an_export_says_what_is_untuned(run, workspace, tmp_path):
    runs = [folder_of(workspace, "read/k2-s0"), folder_of(workspace, "read/k2-s1")]
    told = run("export", *runs, tmp_path / "out")
    assert told.status == 0 and told.err.count("note:") == 1
    assert "grounding, read_k2_s1: its training gained no more than chance does" in told.err


@pytest.mark.skipif(os.name != "posix", reason="devices and links of POSIX")
def test_out_is_written_into_and_never_replaced(run, videos, tmp_path):
    arguments = ("predict", videos / "short.mp4", "--query", "rain", "--format", "csv", "--out")
    device = Path(os.devnull).stat()
    assert run(*arguments, os.devnull).status == 0
    assert os.path.samestat(Path(os.devnull).stat(), device)
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert run(*arguments, tmp_path / "link.csv").status == 0
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").read_text().startswith("video,query")
    (tmp_path / "several").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "several")
    several = ("predict", videos / "short.mp4", videos / "party.mp4", "--query", "rain", "--format", "srt", "--out")
    assert run(*several, tmp_path / "folder").status == 0
    assert sorted(path.name for path in (tmp_path / "several").iterdir()) == ["party.srt", "short.srt"]
    assert (tmp_path / "folder").is_symlink()
    missing = run(*arguments, tmp_path / "several")
    assert missing.status == 1 and "several" in missing.err and "Traceback" not in missing.err
