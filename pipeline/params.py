"""The typed form of params.yaml: every key stands in the file, and all mistakes are reported at once."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from pipeline.contradictions import contradictions
from pipeline.plugins import PANELS
from pipeline.strict_yaml import read_yaml
from read.encoders.base import complete
from read.errors import InputError
from read.plugins import BACKBONES, Plugins, nearest, none_of
from read.rows import shown

Count = Annotated[int, Field(ge=1, le=10**9)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what numpy takes
Fps = Annotated[float, Field(gt=0, le=1000)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
TaskName = Literal["grounding", "summarization"]
PlaceName = Literal["projection", "attention", "feed_forward", "joint"]
EncoderName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]  # also a key of bundles and of features
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


def _auto_or_count(value: Any) -> Any:
    if value != "auto" and (type(value) is not int or value < 1):
        raise ValueError(f"is {shown(value)}; auto, or a number from 1 on, is right")
    return value


AutoCount = Annotated[Literal["auto"] | int, BeforeValidator(_auto_or_count)]


def plugin(*kinds: Plugins) -> AfterValidator:
    """The check of a key that holds the name of a plug-in of one of some kinds."""

    def check(name: str) -> str:
        names = sorted(name for kind in kinds for name in kind.names())
        if name not in names:
            raise InputError(none_of(name, names))
        return name

    return AfterValidator(check)


class Section(BaseModel):
    """A section of params.yaml: strict types, no unknown keys, no defaults but what the file says."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class Download(Section):
    """Stage 1: raw videos."""

    shards: Annotated[int, Field(ge=1, le=1000)]
    tolerance: Annotated[float, Field(ge=0, le=1)]


class Machine(Section):
    """How, and not what: nothing of this decides a result. A job that runs elsewhere may do without."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpus: AutoCount = "auto"
    batch_size: Count = 64
    decoders: AutoCount = "auto"
    processes: Annotated[int, Field(ge=1, le=1000)] = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    gradient_checkpointing: bool = False
    retries: Annotated[int, Field(ge=0)] = 5
    timeout: Positive = 30.0
    mirror: str | None = None


@dataclass(frozen=True)
class DownloadSettings:
    """What downloads go by, of `download` and of `machine`."""

    shards: int = 1
    tolerance: float = 0.0
    retries: int = 5
    timeout: float = 30.0
    mirror: str | None = None

    @classmethod
    def of(cls, machine: Machine, **what: Any) -> Self:
        """The machine's way of downloading; `what` are `shards` and `tolerance`, where they matter."""
        return cls(retries=machine.retries, timeout=machine.timeout, mirror=machine.mirror, **what)


class Extract(Section):
    """Stage 3: features per clip."""

    fps: Fps
    dtype: Literal["float32", "float16"]
    normalise: bool


class Transcribe(Section):
    """Transcripts by ear, of videos that have a summary and came without one."""

    model: Annotated[str, Field(min_length=1)] | None
    language: Annotated[str, Field(min_length=1)] | None


class SplitSection(Section):
    """Stage 4: sides."""

    val_share: Share
    test_share: Share
    test_seed: Seed
    shots_per: Literal["dataset", "domain"]


class Runs(Section):
    """Which runs the comparison consists of, besides the strategies."""

    shots: Annotated[list[Count], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]


class PretrainTask(Section):
    """Stage 5, of any task: the sizes of a model that is trained here, and its training on the source dataset."""

    hidden: Count
    layers: Count
    heads: Count
    feed_forward: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    steps: Count
    batch_size: Count
    learning_rate: Positive
    val_share: Share
    seed: Seed


class PretrainGrounding(PretrainTask):
    """Stage 5 of grounding."""

    checkpoint: str | None
    tef: bool
    max_clips: Count
    listwise: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PretrainSummarization(PretrainTask):
    """Stage 5 of summarization; without steps, a public model stays as it is."""

    steps: Annotated[int, Field(ge=0)]
    vocabulary: Annotated[int, Field(ge=260)]
    visual_layers: Annotated[int, Field(ge=0)]


class Pretrain(Section):
    """Stage 5: the models that are adapted."""

    grounding: PretrainGrounding
    summarization: PretrainSummarization


class TrainTask(Section):
    """Stage 6, of any task: adaptation; the same terms for every strategy."""

    steps: Count
    batch_size: Count
    learning_rates: Annotated[list[Positive], Field(min_length=1)]
    folds: Annotated[int, Field(ge=2, le=1000)]
    evaluations: Count
    budget: Count | None
    places: Annotated[list[PlaceName], Field(min_length=1)]
    train_head: bool


class Train(Section):
    """Stage 6: adaptation."""

    grounding: TrainTask
    summarization: TrainTask


class EvaluateGrounding(Section):
    """Stage 7 of grounding."""

    windows: Literal["auto", "ladder", "runs", "spans"]
    random_draws: Count


class EvaluateSummarization(Section):
    """Stage 7 of summarization."""

    beams: Count
    random_draws: Count


class Evaluate(Section):
    """Stage 7: predictions and scores."""

    grounding: EvaluateGrounding
    summarization: EvaluateSummarization


class MetricsSection(Section):
    """The first column of each task's table."""

    grounding: str
    summarization: str


class ReportSection(Section):
    """Stage 8: the page."""

    metrics: MetricsSection
    panels: list[Annotated[str, plugin(PANELS)]]
    examples: Annotated[int, Field(ge=0)]


class BackboneSection(Section):
    """The model of each task: a name of grounding's, and `small_bart`, a name on the hub or a folder."""

    grounding: Annotated[str, plugin(BACKBONES)]
    summarization: str


def _is_list(value: Any) -> Any:
    if isinstance(value, str):
        both = "[grounding, summarization]"
        raise ValueError(f"is a list, [grounding], [summarization] or {both}, so that DVC can count by it")
    return value


def _check_encoders(encoders: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    mistakes = []
    for entry, options in encoders.items():
        try:
            complete(entry, options)
        except InputError as error:
            mistakes.append(f"{entry}: {error}")
    if mistakes:
        raise InputError("; ".join(mistakes))
    return encoders


class Params(Section):
    """The whole of params.yaml."""

    task: Annotated[list[TaskName], Field(min_length=1), BeforeValidator(_is_list)]
    dataset: Name
    source: Name
    backbone: BackboneSection
    protocol: Literal["honest", "paper", "transfer"]
    domain: str | None
    clip_len: Seconds
    features: Literal["videos", "package"]
    machine: Machine
    download: Download
    encoders: Annotated[dict[EncoderName, dict[str, Any]], Field(min_length=1), AfterValidator(_check_encoders)]
    extract: Extract
    transcribe: Transcribe
    split: SplitSection
    runs: Runs
    pretrain: Pretrain
    train: Train
    strategies: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    evaluate: Evaluate
    report: ReportSection

    @property
    def own_source(self) -> bool:
        """Whether the source is the dataset itself, of which no model may learn: its test videos are among them."""
        return self.source == self.dataset and self.domain is None


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check a params file. Raises InputError with every mistake, each with its key."""
    return check_params(read_yaml(path), str(path))


def check_params(values: Any, name: str = "params.yaml") -> Params:
    """Validate a mapping of params. Raises InputError with every mistake: key, reason and the nearest valid key."""
    params = validated(Params, values, name)
    if mistakes := [f"{name}: {mistake}" for mistake in contradictions(params)]:
        raise InputError("\n".join(mistakes))
    return params


def validated(model: type[BaseModel], values: Any, name: str) -> Any:
    """Build `model` from `values`. Raises InputError with one line a mistake, each with its dotted key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(f"{name}: {_explain(model, entry)}" for entry in error.errors())) from None


def _explain(model: type[BaseModel], entry: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in entry["loc"]) or "(the file)"
    if entry["type"] == "extra_forbidden":
        leaves = {key: key.rpartition(".")[2] for key in all_keys(model)}
        own = path.rpartition(".")[2]
        same = [key for key, leaf in leaves.items() if leaf == own]  # a key of another section
        like = nearest(own, leaves.values())
        hint = nearest(path, same or leaves) or same or [key for key, leaf in leaves.items() if leaf in like]
        return f"{path}: unknown key" + (f"; did you mean {hint[0]}?" if hint else "")
    if entry["type"] == "missing":
        return f"{path}: is missing"
    if entry["type"] == "value_error":
        return f"{path}: {entry['ctx']['error']}"
    if entry["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", entry["ctx"]["expected"])
        return f"{path}: {none_of(entry['input'], choices)}"
    return f"{path}: {entry['msg']} (found {shown(entry['input'])})"


def all_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of all keys of a model and of the models inside it."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += all_keys(field.annotation, f"{prefix}{name}.")
    return keys


def select(params: Params, keys: Iterable[str]) -> dict[str, Any]:
    """The values of some keys, given as dotted names, as JSON-able data."""
    values = params.model_dump(mode="json")
    return {key: reduce(getitem, key.split("."), values) for key in keys}


def for_encoder(params: Params, entry: str) -> Params:
    """The params of an encoder's job: without the others."""
    return params.model_copy(update={"encoders": {entry: params.encoders[entry]}})


def parse_settings(text: str) -> SimpleNamespace:
    """What a job was given: some keys of params.yaml as JSON, as typed attributes.

    A job of one task is given that task's part of a section, as `pretrain.grounding`; it finds it as `pretrain`. It
    finds a single key of such a part, as `evaluate.grounding.windows`, as `evaluate.windows`.

    Raises:
        InputError: not JSON, an unknown key or a wrong type. A key that the rule did not declare is an AttributeError
            in the job: it may not depend on it.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--settings: not valid JSON: {error}") from None
    parsed = {}
    for key, value in values.items():
        section, *inner = key.split(".")
        kind: Any = Params.model_fields.get(section)
        for part in inner:
            kind = getattr(kind.annotation, "model_fields", {}).get(part) if kind is not None else None
        if kind is None:
            raise InputError(f"--settings: unknown key {key}; known are {', '.join(Params.model_fields)}")
        try:
            found = TypeAdapter(kind.annotation).validate_python(value)
            parsed[section] = SimpleNamespace(**{inner[1]: found}) if len(inner) > 1 else found
        except ValidationError as error:
            raise InputError(f"--settings: {key}: {error.errors()[0]['msg']}") from None
    return SimpleNamespace(**parsed)
