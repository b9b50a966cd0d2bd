"""Sound: on the pictures' time line, whatever the file has; silence where it has none, and that is told."""

import subprocess

import numpy as np
import pytest

from read.encoders.base import hearing
from read.encoders.program import ffmpeg_binary
from read.encoders.sound import Sound
from read.errors import InputError

pytestmark = pytest.mark.video
RATE, SECONDS = 16000, 8


def ffmpeg(*words):
    subprocess.run([ffmpeg_binary(), "-v", "error", "-y", *map(str, words)], check=True)


def tones(layout="mono", rate=48000, seconds=SECONDS, volume=1.0):
    """A second of 440 Hz, then one of 880 Hz, and so on, as a source of ffmpeg."""
    tone = f"{volume}*0.5*sin(2*PI*t*if(mod(floor(t)\\,2)\\,880\\,440))"
    return ["-f", "lavfi", "-i", f"aevalsrc={tone}:d={seconds}:s={rate},aformat=channel_layouts={layout}"]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Writes 8 s of grey with the sound of an input."""
    grey = tmp_path_factory.mktemp("grey") / "grey.mp4"
    ffmpeg("-f", "lavfi", "-i", f"color=gray:s=64x64:r=8:d={SECONDS}", "-c:v", "libx264", grey)

    def make(path, *sound, codec="aac", audio=(), pictures=()):
        mapped = ["-map", "0:v", *(["-map", "1:a"] if sound else [])]
        ffmpeg(*pictures, "-i", grey, *audio, *sound, *mapped, "-c:v", "copy", "-c:a", codec, path)
        return path

    return make


def pitches(sound):
    """For each half second the loudest frequency in Hz, 0 where there is silence."""
    wave = np.concatenate(list(sound)).reshape(-1, RATE // 2)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(RATE // 2)))
    return np.where(np.abs(wave).mean(1) > 0.1, 2 * spectrum.argmax(1), 0)


WANTED = np.array([440, 440, 880, 880] * 4)


@pytest.mark.parametrize(
    ("layout", "rate", "codec", "suffix"),
    [
        ("mono", 48000, "aac", "mp4"),
        ("mono", 8000, "pcm_s16le", "mkv"),
        ("6.1", 48000, "pcm_s16le", "mkv"),
        ("stereo", 44100, "mp2", "ts"),
    ],
)
def test_any_rate_and_any_channels(make, tmp_path, layout, rate, codec, suffix):
    path = make(tmp_path / f"tones.{suffix}", *tones(layout, rate), codec=codec)
    sound = Sound(path, RATE, 2.0, 4, 8.0)
    clips = list(sound)
    assert [clip.shape for clip in clips] == [(2 * RATE,)] * 4 and clips[0].dtype == np.float32
    np.testing.assert_allclose(pitches(clips), WANTED, atol=2)
    assert sound.told == ""
    assert np.std(clips) == pytest.approx(0.5 / np.sqrt(2), abs=0.01)  # the channels' mean, no sum


def test_the_samples_are_those_of_the_file(make, tmp_path):
    """At the file's own rate nothing is changed."""
    path = make(tmp_path / "tones.mkv", *tones(rate=RATE), codec="pcm_f32le")
    raw = tmp_path / "raw"
    ffmpeg(*tones(rate=RATE), "-f", "f32le", raw)
    np.testing.assert_array_equal(np.concatenate(list(Sound(path, RATE, 2.0, 4, 8.0))), np.fromfile(raw, "<f4"))


def test_late_sound_that_ends_early_and_has_a_gap(make, tmp_path):
    wanted, told = WANTED.copy(), "no sound from 0.0 to 1.5 s, 6.0 to 8.0 s"
    wanted[:3], wanted[12:] = 0, 0
    wanted[3:12] = [440, 440, 880, 880, 440, 440, 880, 880, 440]
    path = make(tmp_path / "late.mkv", *tones(seconds=4.5), codec="pcm_s16le", audio=["-itsoffset", 1.5])
    sound = Sound(path, RATE, 2.0, 4, 8.0)
    np.testing.assert_allclose(pitches(sound), wanted, atol=2)
    assert sound.told == told

    cut = [*tones()[:-1], tones()[-1] + ",aselect='not(between(t,2,4))'"]
    sound = Sound(make(tmp_path / "gap.mkv", *cut, codec="pcm_s16le"), RATE, 2.0, 4, 8.0)
    np.testing.assert_allclose(pitches(sound), np.where(np.arange(16) // 4 == 1, 0, WANTED), atol=2)
    assert sound.told == "no sound from 2.0 to 4.0 s"


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_late_pictures_do_not_move_the_sound(make, tmp_path, suffix):
    """The time line begins with the sound, and the pictures' first clip too, as `on_time_line` has it."""
    path = make(tmp_path / f"late.{suffix}", *tones(), codec="mp2" if suffix == "ts" else "aac",
                pictures=["-itsoffset", 1.5])  # fmt: skip
    np.testing.assert_allclose(pitches(Sound(path, RATE, 2.0, 4, 8.0)), WANTED, atol=2)


def test_sound_beyond_the_pictures_is_left_out(make, tmp_path):
    path = make(tmp_path / "long.mp4", *tones(seconds=20))
    sound = Sound(path, RATE, 2.0, 4, 8.0)
    assert len(list(sound)) == 4 and sound.told == ""


def test_no_sound_is_silence(make, tmp_path):
    sound = Sound(make(tmp_path / "mute.mp4"), RATE, 2.0, 4, 8.0)
    assert not np.any(list(sound)) and len(list(sound)) == 4
    assert sound.told == "has no sound track"


def test_samples_that_are_no_sound_are_silence(make, tmp_path):
    """Floats may be anything; one that is no number would spoil the features of a whole shard."""
    wave = np.full(RATE * SECONDS, 0.25, "<f4")
    wave[: 2 * RATE : 1000], wave[4 * RATE : 5 * RATE] = np.nan, 1e30
    wave.tofile(tmp_path / "raw")
    path = make(tmp_path / "nan.mkv", "-f", "f32le", "-ar", RATE, "-ac", 1, "-i", tmp_path / "raw", codec="pcm_f32le")
    sound = Sound(path, RATE, 2.0, 4, 8.0)
    clips = np.concatenate(list(sound))
    assert np.isfinite(clips).all() and set(np.unique(clips)) == {0, np.float32(0.25)}
    assert sound.told == "no sound from 4.0 to 5.0 s"


def test_damaged_sound(make, tmp_path):
    """As pictures: what can be decoded is, and the rest is told; a file that is cut short is refused."""
    path = make(tmp_path / "tones.mkv", *tones(), codec="mp2")
    data = bytearray(path.read_bytes())
    for place in np.random.default_rng(0).integers(len(data) // 2, len(data) - 5000, 400):
        data[place] ^= 0xFF
    path.write_bytes(data)
    sound = Sound(path, RATE, 2.0, 4, 8.0)
    np.testing.assert_allclose(pitches(sound)[:6], WANTED[:6], atol=2)
    assert sound.told.startswith("no sound from ")
    noisy = [*tones(), "-bsf:a", "noise=amount=3000"]  # changes the packets of the sound
    sound = Sound(make(tmp_path / "noisy.mkv", *noisy, codec="mp2"), RATE, 2.0, 4, 8.0)
    assert len(list(sound)) == 4 and "its sound is damaged (ffmpeg: " in sound.told
    whole = make(tmp_path / "whole.mp4", *tones()).read_bytes()
    (tmp_path / "short.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"short\.mp4: "):
        list(Sound(tmp_path / "short.mp4", RATE, 2.0, 4, 8.0))
    with pytest.raises(InputError, match="no such file"):
        Sound(tmp_path / "absent.mp4", RATE, 2.0, 4, 8.0)


def test_a_time_stamp_that_is_a_day_off(make, tmp_path):
    """No gap is filled beyond the pictures' end."""
    shifted = [*tones()[:-1], tones()[-1] + ",asetpts='if(gte(T,4),PTS+90000*SR,PTS)'"]
    sound = Sound(make(tmp_path / "day.mkv", *shifted, codec="pcm_s16le"), RATE, 2.0, 4, 8.0)
    np.testing.assert_allclose(pitches(sound), np.where(np.arange(16) < 8, WANTED, 0), atol=2)
    assert sound.told == "no sound from 4.0 to 8.0 s"


def test_only_what_lacks_beside_pictures_is_told(make, footage, tmp_path):
    """Not the rest of the last clip, and no damage of the pictures."""
    path = make(tmp_path / "short.mkv", *tones(seconds=6), codec="pcm_s16le")
    for seconds, told in ((6.4, ""), (7.0, "no sound from 6.0 to 7.0 s"), (9.0, "no sound from 6.0 to 8.0 s")):
        sound = Sound(path, RATE, 2.0, 4, seconds)
        assert len(list(sound)) == 4 and sound.told == told
    sound = Sound(footage / "videos/box.mp4", RATE, 2.0, 8, 15.1)  # whose pictures ffmpeg has something to say of
    assert len(list(sound)) == 8 and sound.told == ""


def test_who_hears_stands_side_by_side():
    reads = {"slowfast": ("frames",), "pann": ("sound",), "reader": ("text",), "ast": ("sound",), "clip": ("frames",)}
    assert hearing(reads) == ["pann", "ast"] and hearing({"clip": ("frames", "text")}) == []
    with pytest.raises(InputError, match="pann and ast hear; list them one after the other"):
        hearing({"pann": ("sound",), "clip": ("frames",), "ast": ("sound",)})
    with pytest.raises(InputError, match="both: reads frames and sound; it has to be two"):
        hearing({"both": ("frames", "sound")})
