"""Transcripts by ear: real decoding, a real detector of voices, and a real Whisper that always says the same."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from read import speech
from read.data.transcripts import Cue, load_cues, subrip
from read.encoders.program import ffmpeg_binary
from read.errors import InputError
from read.speech import Transcriber, find_model, model_digest
from tests.whisper import END, RATE, SAID, make_whisper, voice

pytest.importorskip("faster_whisper")
pytestmark = pytest.mark.video


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return make_whisper(tmp_path_factory.mktemp("whisper") / "small")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Makes a grey video, with a wave as its sound if there is one."""
    folder = tmp_path_factory.mktemp("films")

    def make(name, wave=None, seconds=4.0):
        path = folder / name
        if not path.exists():
            sound = []
            if wave is not None:
                wave.tofile(folder / "wave")
                sound = ["-f", "f32le", "-ar", str(RATE), "-ac", "1", "-i", str(folder / "wave"), "-c:a", "pcm_s16le"]
            grey = ["-f", "lavfi", "-i", f"color=gray:s=32x32:r=4:d={seconds}"]
            subprocess.run([ffmpeg_binary(), "-v", "error", *grey, *sound, str(path)], check=True)
        return path

    return make


def late(wave, seconds):
    return np.concatenate([np.zeros(round(seconds * RATE), np.float32), wave])


def test_what_is_said_is_written_where_it_is_said(model, film):
    """The model names a second from where the voice begins, which the detector widens by less than half of one."""
    heard = Transcriber(str(model)).listen(film("late.mkv", late(voice(2.0), 3.0), 6.0))
    (cue,) = heard.cues
    assert (heard.language, cue.text, heard.told) == ("en", SAID, "")
    assert 2.5 <= cue.start <= 3.1 and cue.end - cue.start == pytest.approx(END, abs=0.01)


def test_silence_and_noise_say_nothing(model, film):
    ear = Transcriber(str(model))
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE)).astype(np.float32)
    for path, told in (
        (film("mute.mkv"), "has no sound track"),
        (film("silence.mkv", np.zeros(4 * RATE, np.float32)), "nobody speaks in it"),
        (film("tone.mkv", tone), "nobody speaks in it"),
    ):
        assert ear.listen(path) == speech.Heard(None, [], told)


def test_long_sound_is_heard_in_parts_that_end_in_pauses(model, film, monkeypatch):
    """Each part is heard by itself, so each voice is written once; cut in its midst, it would be twice."""
    monkeypatch.setattr(speech, "PIECE", 4.0)
    monkeypatch.setattr(speech, "PART", 6.0)
    wave = np.concatenate([late(voice(2.0), 1.0), late(voice(2.0), 2.5), late(voice(2.0), 2.5), late(voice(1.0), 3)])
    path = film("long.mkv", wave, len(wave) / RATE)
    parts = list(speech._parts(path))
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), np.round(wave * 2**15) / 2**15)
    assert [start for start, _ in parts] == [sum(len(part) for _, part in parts[:n]) / RATE for n in range(len(parts))]
    assert len(parts) >= 3 and all(np.abs(part[:800]).max() == 0 for _, part in parts)
    starts = [cue.start for cue in Transcriber(str(model)).listen(path).cues]
    np.testing.assert_allclose(starts, [1.0, 5.5, 10.0, 15.0], atol=0.5)


def test_a_model_that_repeats_itself_is_not_believed(tmp_path, film):
    model = make_whisper(tmp_path / "loop", "see you in the next video " * 30)
    heard = Transcriber(str(model)).listen(film("voice.mkv", voice(3.0)))
    assert heard.cues == [] and heard.told == "passages left out, in which the model repeats itself: 1"


def test_a_file_that_is_cut_short_is_refused(model, film, tmp_path):
    whole = film("voice.mkv", voice(3.0)).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.mkv: the file is cut short or damaged"):
        Transcriber(str(model)).listen(cut)
    with pytest.raises(InputError, match=r"gone\.mkv: no such file"):
        Transcriber(str(model)).listen(tmp_path / "gone.mkv")


def test_a_sound_without_end_is_refused(model, film, monkeypatch):
    monkeypatch.setattr("read.encoders.sound.LONGEST", 2.0)
    with pytest.raises(InputError, match=r"voice\.mkv: has more than .* hours of sound"):
        Transcriber(str(model)).listen(film("voice.mkv", voice(3.0)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smal", "'smal' is none of .*; did you mean small"),
        ("no/such", "no/such: no such folder, and it cannot be had from the hub"),
        ("{}", "no model of faster-whisper's: lacks config.json, model.bin, tokenizer.json; .*ct2-transformers-conv"),
    ],
)
def test_a_model_that_is_not_there(tmp_path, monkeypatch, name, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=message):
        find_model(name.format(tmp_path))


def test_a_model_that_is_damaged_and_a_language_that_it_does_not_know(model, tmp_path):
    with pytest.raises(InputError, match="language 'de' is none of en"):
        Transcriber(str(model), "de")
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    digest = model_digest(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"feature_size": 128}')
    assert model_digest(tmp_path) != digest
    with pytest.raises(InputError, match=r"hears 80 bands of sound, but its preprocessor_config\.json, or .* 128"):
        Transcriber(str(tmp_path))
    (tmp_path / "preprocessor_config.json").unlink()
    assert model_digest(tmp_path) == digest == model_digest(model)
    (tmp_path / "model.bin").write_bytes(b"weights")
    assert model_digest(tmp_path) != digest
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path))}: cannot be loaded by faster-whisper"):
        Transcriber(str(tmp_path))


def test_subtitles_say_what_was_heard(tmp_path):
    cues = [Cue(0.0, 1.25, "hello there"), Cue(3600.5, 3661.001, "a < b")]
    Path(tmp_path, "a.srt").write_text(subrip(cues))
    assert load_cues(tmp_path / "a.srt") == cues
    Path(tmp_path, "b.srt").write_text(subrip([]))
    assert load_cues(tmp_path / "b.srt") == []
