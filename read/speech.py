"""Transcripts by ear: what is said in a video, heard by a Whisper model that faster-whisper runs.

The same words come out each time: beam search, without the sampling that the library falls back to. Only what its
detector of voices takes for speech is listened to, as Whisper writes sentences into silence and noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from read.data.transcripts import Cue, speech
from read.encoders.sound import whole_track
from read.errors import InputError, optional_imports
from read.files import digest_of, sha256_of
from read.plugins import none_of
from read.weights import first_line

RATE = 16000  # samples a second, which every Whisper hears
PART = 600.0  # seconds that are listened to at once, by which memory is bounded
PIECE = 30.0  # seconds that are decoded at once; a part ends in a pause of its last ones
PAUSE = 0.1  # seconds
PRECISION = "float32"  # whatever the weights are stored in: a CPU and a GPU hear the same, but for rounding
BEAMS = 5
LOOP = 2.4  # how much smaller a text may be packed; beyond it the model repeats itself, as Whisper's authors have it
NEEDED = ("config.json", "model.bin", "tokenizer.json")  # without the last the library would ask the hub
FILES = (*NEEDED, "preprocessor_config.json", "vocabulary.json", "vocabulary.txt")


@dataclass(frozen=True)
class Heard:
    """What is said in a video, and in which language, as its code; None where nobody speaks.

    `told` is what to tell a person: why there is no cue, or what was left out.
    """

    language: str | None
    cues: list[Cue]
    told: str


def find_model(model: str) -> Path:
    """The folder of a model in the format of CTranslate2.

    Args:
        model: a folder; or a name of faster-whisper's, as `small`, or one on the hub, with its revision after an @ if
            that matters. The hub is asked only for what is not at hand.

    Raises:
        InputError: there is none, it lacks a file, or it cannot be had; or faster-whisper is not installed.
    """
    if not Path(model).is_dir():
        return _from_hub(model)
    if lacking := _lacking(Path(model)):
        raise InputError(
            f"{model}: no model of faster-whisper's: lacks {', '.join(lacking)}; of one of transformers, "
            f"ct2-transformers-converter --model {model} --output_dir NEW --copy_files tokenizer.json "
            "preprocessor_config.json makes one"
        )
    return Path(model)


def model_digest(folder: Path) -> str:
    """What identifies a model, by the content of its files."""
    return digest_of([[name, sha256_of(folder / name)] for name in FILES if (folder / name).is_file()])


class Transcriber:
    """Listens to videos, one after the other.

    Args:
        model: as `find_model` takes it.
        language: the code of the one that is spoken, as `en`; None: found for each video.
        device: cpu, or cuda with its number.

    Raises:
        InputError: as `find_model`; the model cannot be loaded, or does not know the language.
    """

    def __init__(self, model: str, language: str | None = None, device: str = "cpu") -> None:
        with optional_imports():
            from faster_whisper import WhisperModel

        kind, _, number = device.partition(":")
        place = {"device": kind, "device_index": int(number or 0)}
        try:
            self._model = WhisperModel(str(find_model(model)), compute_type=PRECISION, **place)
        except InputError:
            raise
        except Exception as error:  # of the runtime, of the tokenizer, of a configuration's keys
            raise InputError(f"{model}: cannot be loaded by faster-whisper ({first_line(error)})") from None
        bands = len(self._model.feature_extractor.mel_filters)
        if bands != self._model.model.n_mels:
            raise InputError(
                f"{model}: hears {self._model.model.n_mels} bands of sound, but its preprocessor_config.json, or the "
                f"lack of it, says {bands}"
            )
        if language is not None and language not in self._model.supported_languages:
            raise InputError(f"{model}: language {none_of(language, sorted(self._model.supported_languages))}")
        self._language = language

    def listen(self, path: str | Path) -> Heard:
        """What is said in a video, on its own time line.

        Raises:
            InputError: the file is missing or damaged, or its sound cannot be decoded.
        """
        language, cues, sound, loops = self._language, [], False, 0
        for start, wave in _parts(path):
            sound = True
            segments, about = self._model.transcribe(
                wave, language=language, beam_size=BEAMS, temperature=0.0, condition_on_previous_text=False,
                vad_filter=True,
            )  # fmt: skip
            if not about.duration_after_vad:
                continue
            language = about.language
            for segment in segments:
                if segment.compression_ratio > LOOP:
                    loops += 1
                elif text := speech(segment.text):
                    cues.append(Cue(round(start + segment.start, 3), round(start + segment.end, 3), text))
        told = f"passages left out, in which the model repeats itself: {loops}" if loops else ""
        if not cues and not told:
            told = "nobody speaks in it" if sound else "has no sound track"
        return Heard(language if cues else None, cues, told)


def _parts(path: str | Path) -> Iterator[tuple[float, np.ndarray]]:
    """Where parts of a video's sound begin, in seconds, and the parts, parted in pauses."""
    begin, held = 0, np.zeros(0, np.float32)
    for piece in whole_track(path, RATE, PIECE):
        held = np.concatenate([held, piece])
        if len(held) >= PART * RATE:
            cut = _pause(held)
            yield begin / RATE, held[:cut]
            begin, held = begin + cut, held[cut:]
    if len(held):
        yield begin / RATE, held


def _pause(wave: np.ndarray) -> int:
    """The middle of the quietest tenth of a second among the last seconds, in samples."""
    step = round(PAUSE * RATE)
    count = round(PIECE / PAUSE)
    loudness = np.square(wave[len(wave) - count * step :].reshape(count, step)).mean(1)
    return len(wave) - (count - int(loudness.argmin())) * step + step // 2


def _from_hub(model: str) -> Path:
    with optional_imports():
        from faster_whisper.utils import available_models, download_model

    name, _, revision = model.partition("@")
    if "/" not in name and name not in available_models():
        raise InputError(f"a model that hears: {none_of(name, available_models())}, and no such folder")
    reason = "a file is missing"
    for offline in (True, False):
        try:
            folder = Path(download_model(name, local_files_only=offline, revision=revision or None))
        except Exception as error:  # names, requests and versions fail each in their own way
            reason = first_line(error)
            continue
        if not _lacking(folder):
            return folder
    raise InputError(f"{model}: no such folder, and it cannot be had from the hub ({reason}); name a folder instead")


def _lacking(folder: Path) -> list[str]:
    return [name for name in NEEDED if not (folder / name).is_file()]
