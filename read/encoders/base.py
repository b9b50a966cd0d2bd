"""What an encoder is: a file in `kinds/` that holds an `ENCODER`, known by its stem.

Constants of the file are read without importing it, so that params.yaml is checked without the encoder's packages:
`READS`, what it encodes ("frames" or "sound", "text"), `OPTIONS`, what params.yaml may say of it, with defaults, and,
of one that encodes frames and text, `JOINT`, whether into one space.

Symbols: n clips, T frames in a clip, S their side in pixels, L samples of sound in a clip, M tokens of a sentence, d
width.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from read.errors import InputError
from read.plugins import ENCODERS, suggest

if TYPE_CHECKING:
    import numpy as np
    import torch

ORDER = ("slowfast", "clip")  # in which public checkpoints expect their features to be joined
KIND = "kind"  # the key under which an entry of another name says which encoder it is


class Framing(NamedTuple):
    """How an encoder sees a picture: S pixels a side, of its middle or, where it is to be a `squash`, of all of it.

    Before the middle is cut out, the shorter side has `short` pixels; 0: S, so that nothing of it is lost.
    """

    size: int
    squash: bool = False
    short: int = 0


class Wants(NamedTuple):
    """The clips that an encoder takes: S and the least T, and pictures as `Framing` has them."""

    size: int
    frames: int = 1
    squash: bool = False
    short: int = 0

    @property
    def view(self) -> Framing:
        """Which pictures."""
        return Framing(self.size, self.squash, self.short if self.short > self.size else 0)  # one spelling, made once


class Hears(NamedTuple):
    """The sound that an encoder takes: one channel of `rate` samples a second, of clips of so many seconds."""

    rate: int
    least: float = 0.0
    most: float = float("inf")


@dataclass(frozen=True)
class Material:
    """What an encoder may be made of.

    Attributes:
        footage: gives a `SegmentFootage`, labelled segments of the source dataset in pictures of a size, for an encoder
            that is trained here.
        clip_frames: T.
        folder: where what is downloaded is kept.
        device: where it is trained.
        small: `read.encoders.tiny`, how the small ones are trained; not imported here, as extraction does without.
    """

    footage: Callable[[int], Any]
    clip_frames: int
    folder: Path
    device: str
    small: Any


class Encoder(Protocol):
    """One row of features for each clip of a video and, where it reads text, one for each token of a sentence.

    Several threads encode clips at the same time.

    Attributes:
        reads: what it encodes.
        joint: whether `sentences` and the frames' features lie in one space, as those of CLIP and its kin.
        wants: which clips it takes; of those that read frames.
        hears: which sound it takes; of those that read sound, and no frames.
        config: what `save` writes beside the weights, JSON; "name" is the model's.
        identity: whatever has to be equal for features to be mixed, JSON: `config`, the digest of the weights, widths.
        dim: d of the clips' features.
    """

    reads: ClassVar[tuple[str, ...]]
    joint: ClassVar[bool] = False
    wants: Wants
    hears: Hears
    config: dict[str, Any]
    identity: dict[str, Any]
    dim: int

    @classmethod
    def wanted(cls, options: Mapping[str, Any]) -> Wants:
        """`wants` of what `make` will make, if it reads frames. Raises InputError for a model that there is not."""
        ...

    @classmethod
    def make(cls, options: Mapping[str, Any], material: Material) -> Self:
        """The encoder that params.yaml describes: with public weights, those of a file, or trained here.

        Raises:
            InputError: the weights cannot be had or do not fit; there is nothing to train on.
        """
        ...

    @classmethod
    def load(cls, folder: str | Path, device: "str | torch.device" = "cpu") -> Self:
        """What `save` wrote. Raises InputError where a file is missing or damaged."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` to a folder, whole or not at all."""
        ...

    def video(self, clips: "np.ndarray") -> "np.ndarray":
        """Features of clips, uint8 (n, T, S, S, 3) -> float32 (n, d), not normalised; of those that read frames."""
        ...

    def sound(self, waves: "np.ndarray") -> "np.ndarray":
        """Features of clips' sound, float32 (n, L) -> float32 (n, d), not normalised; of those that read sound."""
        raise NotImplementedError

    def text(self, sentences: list[str]) -> "list[np.ndarray]":
        """Features of tokens, float32 (M, d) for each sentence; of those that read text."""
        raise NotImplementedError

    def words(self, sentence: str) -> list[str]:
        """What each of the M tokens of `text` stands for."""
        raise NotImplementedError

    def sentences(self, sentences: list[str]) -> "np.ndarray":
        """Sentences in the space of the clips' features, float32 (n, d), not normalised; of those that are `joint`."""
        raise NotImplementedError

    def read(self, sentences: list[str]) -> "tuple[list[np.ndarray], np.ndarray | None]":
        """`text` and, of those that are `joint`, `sentences`; one that has both from one pass says so."""
        return self.text(sentences), self.sentences(sentences) if self.joint else None

    @classmethod
    def public(cls, model: str, pretrained: str | None) -> str | None:
        """Where anybody can have the weights of `model` that params.yaml calls `pretrained`; None: nowhere."""
        return None

    @classmethod
    def fetch(cls, identity: Mapping[str, Any], source: str, room: Path) -> Self:
        """The encoder of an identity with the weights that `public` told of, downloaded into the folder `room`."""
        raise InputError(f"{identity['name']}: there are no public weights to fetch")


def kind_of(entry: str, options: Mapping[str, Any]) -> str:
    """The encoder behind an entry: the one that it names as `kind`, else the one it is named after."""
    return options.get(KIND, entry)


def complete(entry: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of an entry of params.yaml, with defaults for those not given, and no `kind`. Imports nothing.

    Raises:
        InputError: no such encoder, no such option (with the nearest), or a value of another type.
    """
    kind = kind_of(entry, options)
    defaults = ENCODERS.constant(kind, "OPTIONS")
    given = {key: value for key, value in options.items() if key != KIND}
    for key, value in given.items():
        if key not in defaults:
            raise InputError(f"encoder {kind} has no option {key!r}{suggest(key, defaults)}")
        if not _fits(value, defaults[key]):
            wrong = "neither text nor null" if defaults[key] is None else f"no {type(defaults[key]).__name__}"
            raise InputError(f"encoder {kind}: {key} is {value!r}, which is {wrong}")
        if type(defaults[key]) is int and value < (key != "seed"):
            raise InputError(f"encoder {kind}: {key} is {value}, but must be at least {int(key != 'seed')}")
    return defaults | given


def _fits(value: Any, default: Any) -> bool:
    if default is None:
        return value is None or isinstance(value, str)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def reads(entry: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What the encoder of an entry encodes. Imports nothing; raises InputError where there is no such encoder."""
    return ENCODERS.constant(kind_of(entry, options), "READS")


def first_reader(encoders: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The entry whose encoder reads the queries: the first that reads text."""
    return next((entry for entry, options in encoders.items() if "text" in reads(entry, options)), None)


def joint_entry(encoders: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The entry whose encoder has one space for the queries, which it reads, and for frames. Imports nothing."""
    entry = first_reader(encoders)
    if entry is None or "frames" not in reads(entry, encoders[entry]):
        return None
    return entry if ENCODERS.constant(kind_of(entry, encoders[entry]), "JOINT") else None


def check_sound(hears: Mapping[str, Hears], clip_len: float) -> None:
    """Refuse clips that are too short or too long for an encoder to hear them whole. Raises InputError."""
    for name, each in hears.items():
        if not each.least <= clip_len <= each.most:
            takes = f"{each.least:g} s or more" if clip_len < each.least else f"at most {each.most:g} s"
            raise InputError(f"encoder {name} hears clips of {takes}, but clip_len is {clip_len:g} s")


def hearing(encoders: Mapping[str, Collection[str]]) -> list[str]:
    """The names of those that read sound, of what each reads. Their features are joined side by side.

    Raises:
        InputError: others stand between them, or one sees too, so that models could not tell sound from pictures.
    """
    kinds = {name: what for name, what in encoders.items() if "frames" in what or "sound" in what}
    found = [name for name, what in kinds.items() if "sound" in what]
    if both := [name for name in found if "frames" in kinds[name]]:
        raise InputError(f"encoder {both[0]}: reads frames and sound; it has to be two encoders")
    first = [*kinds].index(found[0]) if found else 0
    if [*kinds][first : first + len(found)] != found:
        raise InputError(f"encoders: {' and '.join(found)} hear; list them one after the other")
    return found


def trained_here(entry: str, options: Mapping[str, Any]) -> bool:
    """Whether an entry's encoder learns from the source dataset: it has an option `pretrained`, which is null."""
    return complete(entry, options).get("pretrained", "") is None


def check_frames(wants: Mapping[str, Wants], count: int) -> None:
    """Refuse clips of fewer frames than an encoder learned from, which would be repeated. Raises InputError."""
    for name, each in wants.items():
        if count < each.frames:
            raise InputError(
                f"encoder {name} takes {each.frames} frames of a clip, but fps x clip_len gives {count}; set "
                f"extract.fps to {each.frames} / clip_len or more"
            )
