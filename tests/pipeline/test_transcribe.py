"""The stage that listens: to whom, what it writes and takes over, what it tells, and who reads it."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import paths
from pipeline.data import load_labels
from pipeline.params import Transcribe
from pipeline.stages.transcribe import collect, transcribe_shard
from read import speech
from read.data.transcripts import Cue, load_cues
from read.errors import InputError
from read.files import read_jsonl, write_json, write_jsonl
from tests.whisper import SAID, make_whisper, voice

CODE = "0123"
WHO = {"spoken": "", "written": "as it was written", "mute": "", "bad": "", "unlabelled": None}
SAYS = speech.Heard("en", [Cue(0.5, 1.5, "hello"), Cue(2.0, 3.0, "there")], "")
HEARD = {"spoken": SAYS, "mute": speech.Heard(None, [], "has no sound track")}


@pytest.fixture
def listens(tmp_path, monkeypatch):
    """Runs the stage where a fake hears, and gives the names of the videos that it heard."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("READ_MACHINE", '{"device": "cpu"}')
    heard = []

    class Fake:
        def __init__(self, model, language, device):
            assert (language, device) == ("en", "cpu")

        def listen(self, path):
            heard.append(path.stem)
            if path.stem not in HEARD:
                raise InputError(f"{path}: is no video")
            if HEARD[path.stem] is None:
                raise KeyboardInterrupt
            return HEARD[path.stem]

    monkeypatch.setattr(speech, "Transcriber", Fake)
    monkeypatch.setattr(speech, "find_model", lambda model: model)
    monkeypatch.setattr(speech, "model_digest", lambda model: f"digest of {model}")
    rows = [{"vid": vid, "transcript": said, "summary": "a walk"} for vid, said in WHO.items() if said is not None]
    write_jsonl("data/raw/mine/summaries.jsonl", rows)

    def run(shards, model="small", code=CODE, content=""):
        for shard, vids in shards.items():
            listed = {vid: {"file": f"{vid}.mp4", "sha256": vid + content} for vid in vids}
            write_json(f"data/raw/mine/shards/{shard}.json", {"videos": listed, "missing": {}})
        heard.clear()
        settings = SimpleNamespace(transcribe=Transcribe(model=model, language="en"))
        for shard in shards:
            transcribe_shard("mine", shard, settings, code)
        collect("mine", settings)
        return sorted(heard)

    return run


def test_those_are_heard_that_have_a_summary_and_no_transcript(listens, capsys):
    assert listens({"000": ["spoken", "written", "unlabelled"], "001": ["mute", "bad"]}) == ["bad", "mute", "spoken"]
    (row,) = read_jsonl(paths.heard("mine"))
    assert row == {"vid": "spoken", "transcript": "hello there", "model": "small", "language": "en"}
    subtitles = paths.transcripts("mine") / "subtitles"
    assert {path.name: load_cues(path) for path in subtitles.glob("*.srt")} == {"spoken.srt": SAYS.cues, "mute.srt": []}
    told = capsys.readouterr().out
    assert "not heard: bad: data/raw/mine/videos/bad.mp4: is no video" in told
    assert "mute: has no sound track" in told and "in 1 of 2 videos" in told
    labels = {label.vid: label for label in load_labels("summarization", "mine", SimpleNamespace())}
    assert (labels["spoken"].transcript, labels["spoken"].heard) == ("hello there", "small, en")
    others = {vid: (label.transcript, label.heard) for vid, label in labels.items() if vid != "spoken"}
    assert others == {"written": (WHO["written"], ""), "mute": ("", ""), "bad": ("", "")}


def test_what_was_heard_is_taken_over(listens):
    shards = {"000": ["spoken", "written"], "001": ["mute", "bad"]}
    listens(shards)
    before = paths.heard("mine").read_bytes()
    assert listens(shards) == ["bad"]  # may be whole by now
    assert listens({"000": ["mute"], "001": ["spoken", "bad"]}) == ["bad"]  # regrouped
    assert listens({"000": ["written"], "001": ["bad", "spoken", "mute"]}) == ["bad"]
    assert listens({"000": ["spoken", "mute"], "001": ["bad", "written"]}) == ["bad"]
    assert paths.heard("mine").read_bytes() == before
    assert sorted(path.name for path in paths.transcripts("mine").glob("*.jsonl")) == [
        "000.jsonl", "001.jsonl", "transcripts.jsonl",
    ]  # fmt: skip
    for other in ({"model": "tiny"}, {"code": "4567"}, {"content": "anew"}):
        assert listens(shards, **other) == ["bad", "mute", "spoken"], other


def test_a_job_that_is_killed_goes_on_where_it_was(listens, monkeypatch):
    monkeypatch.setitem(HEARD, "mute", None)
    with pytest.raises(KeyboardInterrupt):
        listens({"000": ["spoken", "mute"]})
    monkeypatch.setitem(HEARD, "mute", speech.Heard(None, [], "nobody speaks in it"))
    assert listens({"000": ["spoken", "mute"]}) == ["mute"]


def test_no_video_that_can_be_heard_ends_the_stage(listens):
    with pytest.raises(InputError, match=r"mine: no video could be heard\n  bad: data/raw/mine/videos/bad.mp4: is no"):
        listens({"000": ["bad", "written"]})


def test_without_a_model_nothing_is_loaded(listens):
    listens({"000": ["spoken"]})
    settings = '{"transcribe": {"model": null, "language": null}}'
    code = f"""import sys
from pipeline.stages import transcribe
sys.argv = ["transcribe", "collect", "mine", "--settings", {settings!r}]
transcribe.main()
sys.exit(", ".join({{"torch", "faster_whisper"}} & set(sys.modules)))"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stderr.strip() == ""
    assert paths.heard("mine").read_bytes() == b""
    (about,) = (paths.transcripts("mine") / "subtitles").iterdir()
    assert about.read_text() == "Nobody listened.\n"
    assert sorted(path.name for path in paths.transcripts("mine").iterdir()) == ["subtitles", "transcripts.jsonl"]


@pytest.mark.video
def test_the_real_thing(tmp_path, monkeypatch):
    """A real file, the real library, and a model of a few numbers."""
    pytest.importorskip("faster_whisper")
    from read.encoders.program import ffmpeg_binary

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("READ_MACHINE", '{"device": "cpu"}')
    model = make_whisper(tmp_path / "model")
    voice(3.0).tofile("wave")
    (tmp_path / "data/raw/mine/videos").mkdir(parents=True)
    sound = ["-f", "f32le", "-ar", "16000", "-ac", "1", "-i", "wave"]
    grey = ["-f", "lavfi", "-i", "color=gray:s=32x32:r=4:d=3", *sound, "data/raw/mine/videos/spoken.mp4"]
    subprocess.run([ffmpeg_binary(), "-v", "error", *grey], check=True)
    write_jsonl("data/raw/mine/summaries.jsonl", [{"vid": "spoken", "summary": "a greeting"}])
    listed = {"videos": {"spoken": {"file": "spoken.mp4", "sha256": "0"}}}
    write_json("data/raw/mine/shards/000.json", listed)
    settings = SimpleNamespace(transcribe=Transcribe(model=str(model), language=None))
    transcribe_shard("mine", "000", settings)
    collect("mine", settings)
    (label,) = load_labels("summarization", "mine", settings)
    assert (label.transcript, label.heard) == (SAID, f"{model}, en")
