"""What every backbone offers, and how one is found by its name.

Symbols: B samples, N clips, M words, d width. Masks are True at real tokens.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from torch import Tensor, nn

from read.backbones.joint_space import JointSpace
from read.errors import InputError
from read.files import atomic_path, read_json, write_json
from read.plugins import BACKBONES, none_of
from read.settings import WINDOWS, check_types, make_settings
from read.weights import check_fit, load_tensors, read_checkpoint, save_tensors, state_digest

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Segment(NamedTuple):
    """Where one modality's tokens stand in a layer: tokens start:stop, and their (B, stop - start) mask."""

    modality: str
    start: int
    stop: int
    mask: Tensor


@dataclass(frozen=True)
class GroundingConfig:
    """What every backbone is told of its features; a subclass adds its own fields.

    Attributes:
        video_dim: width of the clip features.
        text_dim: width of the word features.
        max_clips: a longer video is read in overlapping pieces of this many clips.
        joint_start: the first of the columns of the clip features that hold the joint embedding of pictures and
            sentences, L2-normalised.
        joint_dim: e, how many these are; 0: the features have no joint space.
        sound_start: the first of the columns of the clip features that were made of what is heard.
        sound_dim: how many these are; 0: nothing was heard.
        windows: how windows are read off, as chosen on the source's validation side; "auto": as the class is best read.
    """

    video_dim: int
    text_dim: int
    max_clips: int = 75
    joint_start: int = 0
    joint_dim: int = 0
    sound_start: int = 0
    sound_dim: int = 0
    windows: str = "auto"

    # Sizes of parts that a model may lack.
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("joint_start", "joint_dim", "sound_start", "sound_dim")

    def __post_init__(self) -> None:
        name = type(self).__name__.removesuffix("Config").lower()
        check_types(self, name)
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        sizes = {key: value for key, value in values.items() if type(value) is int}
        if wrong := [key for key, value in sizes.items() if value < (key not in self.MAY_BE_ZERO)]:
            raise InputError(f"{name}: {', '.join(wrong)} must be at least 1")
        if wrong := [key for key, value in values.items() if "drop" in key and not 0 <= value < 1]:
            raise InputError(f"{name}: {', '.join(wrong)} must lie in [0, 1)")
        if self.windows not in WINDOWS:
            raise InputError(f"{name}: windows {none_of(self.windows, WINDOWS)}")
        if self.joint_start + self.joint_dim > self.video_dim:
            raise InputError(f"{name}: the joint space has columns that video_dim {self.video_dim} lacks")
        if self.sound_start + self.sound_dim > self.video_dim:
            raise InputError(f"{name}: sound has columns that video_dim {self.video_dim} lacks")
        if self.listens and self.sound_dim not in (0, self.listens):
            raise InputError(
                f"{name}: listens to {self.listens} numbers a clip, but features of sound have {self.sound_dim}; list "
                "the encoder of sound that it was trained with, such as pann"
            )

    @property
    def listens(self) -> int:
        """Width of the features of sound that the model reads apart, `audio_dim`; 0: it reads all features as one."""
        return getattr(self, "audio_dim", 0)

    @property
    def seen_dim(self) -> int:
        """Width of the clip features that the model is given as `video`: all, without those that it reads apart."""
        return self.video_dim - (self.sound_dim if self.listens else 0)


@dataclass(frozen=True)
class TransformerConfig(GroundingConfig):
    """Sizes and rates of those that are transformers; a subclass says what the published ones are.

    Attributes:
        hidden: d.
        layers: of the encoder, and of the decoder where there is one.
        feed_forward: inner width of the feed-forward blocks.
        dropout: inside the layers.
        input_dropout: on what the input projections read.
        prior: weight of the joint space's curve beside the model's own scores, chosen as `windows` is; 0: none.
    """

    hidden: int = 256
    layers: int = 2
    heads: int = 8
    feed_forward: int = 1024
    dropout: float = 0.1
    input_dropout: float = 0.5
    prior: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__.removesuffix("Config").lower()
        if self.hidden % self.heads or self.hidden % 2:
            raise InputError(f"{name}: hidden {self.hidden} must be even and a multiple of heads {self.heads}")
        if not 0 <= self.prior < float("inf"):
            raise InputError(f"{name}: prior {self.prior} must be at least 0")
        if self.prior and not self.joint_dim:
            raise InputError(f"{name}: a prior needs a joint space, joint_dim is 0")


class Backbone(nn.Module, ABC):
    """A grounding model: strategies, trainer and predictor know no more of it than this.

    A subclass stands in a file of `read.backbones.grounding` whose stem is its name, with `BACKBONE` as the class.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[GroundingConfig]]
    dense: ClassVar[bool] = True  # one window and one score per clip; else a set of windows
    regresses: ClassVar[bool] = True  # `spans` are learned, and not the clips themselves
    rate_scale: ClassVar[float] = 1.0  # of the learning rates that all backbones are trained with
    reads_sentence: ClassVar[bool] = False  # `forward` takes `sentence` (B, e) and `correction` (B, N, e) too
    windows: ClassVar[Literal["ladder", "runs", "spans"]] = "spans"  # how they are read off until that is chosen

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Name the class after its file; a subclass that is made elsewhere, as by FSDP, keeps the name."""
        super().__init_subclass__(**kwargs)
        package, _, stem = cls.__module__.rpartition(".")
        if package == BACKBONES.package:
            cls.name = stem

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.prior: JointSpace | None = None
        if weight := getattr(config, "prior", 0.0):
            self.add_prior(JointSpace(config.video_dim, config.joint_start, config.joint_dim, trains=False), weight)

    def add_prior(self, space: JointSpace | None, weight: float) -> None:
        """Take a joint space beside the model's own scores, or none: `read.grounding.fusion` joins their curves."""
        self.config = dataclasses.replace(self.config, prior=weight)
        self.prior = space

    @property
    def joint_space(self) -> JointSpace | None:
        """What a map is fitted for, in the model or beside it; None: there is none."""
        return self.prior

    @abstractmethod
    def forward(
        self, video: Tensor, video_mask: Tensor, text: Tensor, text_mask: Tensor, audio: Tensor | None = None
    ) -> dict[str, Any]:
        """Ground a sentence in a video.

        Args:
            video: (B, N, seen_dim) clip features.
            video_mask: (B, N).
            text: (B, M, text_dim) word features.
            text_mask: (B, M).
            audio: (B, N, audio_dim), for backbones that listen; None where no encoder heard, which is silence.

        Returns:
            `spans` (B, K, 2) start and end as shares of the clips' total length, `scores` (B, K) in [0, 1], `saliency`
            (B, N), and `states` {"video": (B, N, d), "text": (B, M, d)}. K = N where `dense`. What padded clips get
            means nothing. What else the losses need has a row for each sample too, as `read.ranks` asks.
        """

    @abstractmethod
    def losses(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """Named terms, already weighted: the task's loss is their sum. `targets` is a batch of `read.data.collate`.

        All in float32, whatever precision the forward pass ran in.
        """

    def clip_scores(self, outputs: Mapping[str, Any]) -> Tensor:
        """(B, N) scores that rank the clips of a video as highlights."""
        return outputs["saliency"]

    @abstractmethod
    def feed_forward_blocks(self) -> dict[str, nn.Module]:
        """Dotted names of the feed-forward sub-blocks: (B, tokens, d) -> what is added to the residual."""

    @abstractmethod
    def attention_blocks(self) -> dict[str, nn.Module]:
        """Dotted names of the attention sub-blocks: (B, tokens, d), ... -> what is added to the residual."""

    def projection_blocks(self) -> dict[str, nn.Module]:
        """Dotted names of the linear layers that take features to the model's width: (B, tokens, ...)."""
        return {}

    def joint_blocks(self) -> dict[str, nn.Module]:
        """Dotted names of the linear maps into the joint space of pictures and sentences; of most models none."""
        return {}

    @abstractmethod
    def heads(self) -> list[str]:
        """Dotted prefixes of the task heads' parameters."""

    @abstractmethod
    def segments(self, video_mask: Tensor, text_mask: Tensor) -> list[Segment] | dict[str, list[Segment]]:
        """The modalities of a layer's tokens, in their order: of all layers, or by the prefix of the layers' names.

        All blocks have to be among them.
        """

    @classmethod
    @abstractmethod
    def published(
        cls, state: dict[str, Tensor], options: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What to make of a public checkpoint: the weights under this class's keys, and the fields of the config.

        Args:
            state: the weights under the keys of the file.
            options: stored beside them; may be empty.

        Raises:
            KeyError: weights by which the model's sizes are known are absent.
        """

    @classmethod
    def load_published(cls, path: str | Path, **settings: Any) -> Self:
        """A model from a public checkpoint; sizes come from its shapes and the options stored in it.

        Args:
            path: the file.
            settings: fields of the config that differ from what the file says.

        Raises:
            InputError: as `read_checkpoint` and `load_weights`, which lists missing and unexpected keys.
        """
        state, options = read_checkpoint(path)
        try:
            state, sizes = cls.published(state, options)
        except KeyError as error:
            raise InputError(f"{path}: not the weights of {cls.name}; missing keys: {error.args[0]}") from None
        if sizes.get("audio_dim"):  # it knows of clip features what it sees
            sizes["video_dim"] += settings.get("sound_dim", 0)
        return cls(cls.config_class(**(sizes | settings))).load_weights(state, path)

    def digest(self) -> str:
        """SHA-256 over the names, types, shapes and bytes of the weights."""
        return state_digest(self.state_dict())

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` to a folder, whole or not at all."""
        with atomic_path(folder) as draft:
            draft.mkdir()
            save_tensors(self.state_dict(), draft / WEIGHTS)
            write_json(draft / CONFIG, {"backbone": self.name, **dataclasses.asdict(self.config)})

    def load_weights(self, state: Mapping[str, Tensor], source: str | Path) -> Self:
        """Take over a state dict with exactly the model's keys and shapes.

        Raises:
            InputError: naming missing keys, unexpected keys and differing shapes of `source`.
        """
        check_fit(state, self.state_dict(), source, f"this {self.name}")
        self.load_state_dict(state)
        return self


def backbone_names() -> list[str]:
    """Names of the backbones there are."""
    return BACKBONES.names()


def get_backbone(name: str) -> type[Backbone]:
    """The class of a backbone. Raises InputError for an unknown name, with the nearest."""
    return BACKBONES.load(name)


def build_backbone(name: str, /, **settings: Any) -> Backbone:
    """A freshly initialised backbone. Raises InputError for an unknown name or setting, or one of another type."""
    kind = get_backbone(name)
    return kind(make_settings(kind.config_class, settings, f"backbone {name}"))


def load_backbone(folder: str | Path) -> Backbone:
    """The backbone that `Backbone.save` wrote. Raises InputError for files that are missing or do not fit."""
    folder = Path(folder)
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise InputError(f"{folder / file}: no such file; a backbone's folder holds {CONFIG} and {WEIGHTS}")
    settings = read_json(folder / CONFIG)
    if not isinstance(settings, dict) or not isinstance(settings.get("backbone"), str):
        raise InputError(f'{folder / CONFIG}: not of a backbone, whose "backbone" is its name')
    try:
        model = build_backbone(settings.pop("backbone"), **settings)
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from None
    return model.load_weights(load_tensors(folder / WEIGHTS), folder / WEIGHTS)
