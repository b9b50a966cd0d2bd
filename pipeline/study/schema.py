"""study.yaml: what is compared, where, from which seeds, and which claims are put to the test."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pipeline.params import Count, Name, Params, Section, Seed, check_params, validated
from pipeline.strategies import check_strategies, fits, method_of
from pipeline.strict_yaml import read_yaml
from read.errors import InputError

TASK = "grounding"
ABLATIONS = "ablations"  # the part of a study whose runs are variants of a strategy
OWN = ("task", "runs", "strategies")  # sections of params that no `set` changes
Seeds = Annotated[list[Seed], Field(min_length=1)]
Shots = Annotated[list[Count], Field(min_length=1)]
Options = dict[str, Any]


class Setting(Section):
    """A dataset and a backbone: params of their own.

    Attributes:
        base: the params that are changed.
        set: dotted keys -> values that differ from the base, and from what the whole study sets.
        backbone_seeds: where they are others than the study's, as of a backbone that nothing is trained of.
        catalog: a command that makes the datasets, into a folder that it is given as its last argument; where it
            cannot, the setting is left out.
        ablations: whether the variants are run in it, too.
        about: a line for people.
    """

    base: str = "params.yaml"
    set: Options = Field(default_factory=dict)
    backbone_seeds: Seeds | None = None
    catalog: list[str] | None = None
    ablations: bool = True
    about: str = ""


class Ablation(Section):
    """Variants, each compared with one strategy of the study, at `ablation_shots` and `ablation_seeds`."""

    against: Name
    strategies: Annotated[dict[Name, Options], Field(min_length=1)]
    about: str = ""


class Claim(Section):
    """One strategy is better than another by more than a margin, in points of a metric, in the mean over some shots.

    Attributes:
        claim: the sentence.
        better: entry that is said to be better.
        than: the other one.
        margin: how much better at least; a smaller difference refutes the claim.
        metric: by default the study's.
        shots: by default all that both ran at.
        settings: by default all.
    """

    claim: str
    better: Name
    than: Name
    margin: Annotated[float, Field(ge=0, le=100)]
    metric: str | None = None
    shots: Shots | None = None
    settings: Annotated[list[Name], Field(min_length=1)] | None = None


class Tried(Section):
    """Forms that were looked at before: how many, of what, on which seeds."""

    forms: Count
    what: str
    where: str


class Study(Section):
    """The whole of study.yaml."""

    title: str
    metric: str
    settings: Annotated[dict[Name, Setting], Field(min_length=1)]
    backbone_seeds: Seeds
    shots: Shots
    seeds: Seeds
    set: Options = Field(default_factory=dict)
    strategies: Annotated[dict[Name, Options], Field(min_length=1)]
    ablation_shots: Shots
    ablation_seeds: Seeds
    ablations: dict[Name, Ablation] = Field(default_factory=dict)
    claims: Annotated[list[Claim], Field(min_length=1)]
    tried: list[Tried]

    def seeds_of(self, setting: str) -> list[int]:
        """The seeds of a setting's backbone."""
        return self.settings[setting].backbone_seeds or self.backbone_seeds

    def entries(self, part: str) -> dict[str, Options]:
        """The strategies of a part of the study: the ablations' variants, or those that are compared."""
        if part != ABLATIONS:
            return self.strategies
        return {name: options for group in self.ablations.values() for name, options in group.strategies.items()}

    def shots_of(self, part: str) -> list[int]:
        """The numbers of labelled videos of a part."""
        return self.ablation_shots if part == ABLATIONS else self.shots

    def seeds_in(self, part: str) -> list[int]:
        """The seeds of a part."""
        return self.ablation_seeds if part == ABLATIONS else self.seeds

    def part_of(self, strategy: str) -> str:
        """The part that a strategy belongs to."""
        return "runs" if strategy in self.strategies else ABLATIONS

    @property
    def all_entries(self) -> dict[str, Options]:
        """The strategies of both parts."""
        return self.strategies | self.entries(ABLATIONS)


def load_study(path: str | Path = "study.yaml") -> Study:
    """Read and check a study. Raises InputError with every mistake, each with its key."""
    return check_study(read_yaml(path), str(path))


def check_study(values: Any, name: str = "study.yaml") -> Study:
    """The study in some values. Raises as `load_study`."""
    study = validated(Study, values, name)
    mistakes = [f"{name}: {mistake}" for mistake in (*_lists(study), *_names(study))]
    for part, entries in (("strategies", study.strategies), ("ablations", study.entries(ABLATIONS))):
        mistakes += _said(lambda entries=entries: check_strategies(entries, name), ("strategies.", f"{part}."))
    for setting in study.settings:
        mistakes += _said(lambda setting=setting: params_of(study, setting, 0, "runs", name))
    if mistakes:
        raise InputError("\n".join(dict.fromkeys(mistakes)))
    return study


def _said(check: Any, renamed: tuple[str, str] = ("", "")) -> list[str]:
    try:
        check()
    except InputError as error:
        return [line.replace(*renamed, 1) if renamed[0] else line for line in str(error).splitlines()]
    return []


def _lists(study: Study) -> Iterator[str]:
    lists = {
        "backbone_seeds": study.backbone_seeds, "shots": study.shots, "seeds": study.seeds,
        "ablation_shots": study.ablation_shots, "ablation_seeds": study.ablation_seeds,
        **{f"settings.{name}.backbone_seeds": each.backbone_seeds or [] for name, each in study.settings.items()},
    }  # fmt: skip
    twice = {key: values for key, values in lists.items() if len({*values}) < len(values)}
    yield from (f"{key}: holds a value twice: {values}" for key, values in twice.items())


def _names(study: Study) -> Iterator[str]:
    """What stands for something that is not there."""
    seen = dict.fromkeys(study.strategies, "strategies")
    for group, ablation in study.ablations.items():
        if ablation.against not in study.strategies:
            yield f"ablations.{group}.against: {ablation.against} is none of strategies: {', '.join(study.strategies)}"
        for entry in ablation.strategies:
            if entry in seen:
                yield f"ablations.{group}.strategies.{entry}: stands under {seen[entry]} already; name it otherwise"
            seen[entry] = f"ablations.{group}"
    if absent := [k for k in study.ablation_shots if study.ablations and k not in study.shots]:
        yield f"ablation_shots: {absent[0]} is none of shots, so that there would be nothing to compare with"
    if absent := [seed for seed in study.ablation_seeds if study.ablations and seed not in study.seeds]:
        yield f"ablation_seeds: {absent[0]} is none of seeds, so that there would be nothing to compare with"
    if study.ablations and study.shots and max(study.shots) not in study.ablation_shots:
        yield f"ablation_shots: has to hold {max(study.shots)}, the most of shots, by which labelled videos are dealt"
    for key in [*study.set, *(key for setting in study.settings.values() for key in setting.set)]:
        if key.partition(".")[0] in OWN:
            yield f"set: {key}: is what the study sets itself, by a key of its own"
    for number, claim in enumerate(study.claims):
        place = f"claims.{number}"
        for key in ("better", "than"):
            if getattr(claim, key) not in seen:
                yield f"{place}.{key}: {getattr(claim, key)} is no entry of strategies or ablations"
        if claim.better == claim.than:
            yield f"{place}: compares {claim.better} with itself"
        yield from (
            f"{place}.settings: {name} is none of settings"
            for name in claim.settings or ()
            if name not in study.settings
        )
        both = shots_of_claim(study, claim)
        yield from (f"{place}.shots: {k} is not run for both" for k in claim.shots or () if k not in both)


def shots_of_claim(study: Study, claim: Claim) -> list[int]:
    """The numbers of labelled videos that both strategies of a claim run at, of those that it names."""
    parts = {study.part_of(name) for name in (claim.better, claim.than)}
    return [k for k in study.shots if all(k in study.shots_of(part) for part in parts) and k in (claim.shots or [k])]


def params_of(study: Study, setting: str, backbone_seed: int, part: str, name: str = "study.yaml") -> dict[str, Any]:
    """The params of a cell, as data: the setting's base with what the study and the setting change.

    Args:
        study: what is run.
        setting: name of one of its settings.
        backbone_seed: seed of the encoders that are trained here and of pretraining.
        part: "runs" or "ablations".
        name: of the study's file, for messages.

    Raises:
        InputError: with every mistake of the params.
    """
    about, place = study.settings[setting], f"{name}: settings.{setting}"
    values = read_yaml(about.base)
    if not isinstance(values, dict) or not all(isinstance(values.get(key), dict) for key in ("encoders", "pretrain")):
        raise InputError(f"{place}.base: {about.base} holds no params")
    for key, value in (study.set | about.set).items():
        _set(values, key, value)
    values["task"] = [TASK]
    values["runs"] = {"shots": study.shots_of(part), "seeds": study.seeds_in(part)}
    values["strategies"] = _fitting(study.entries(part), values["backbone"][TASK])
    for options in values["encoders"].values():
        if "seed" in options:
            options["seed"] = backbone_seed
    for options in values["pretrain"].values():
        options["seed"] = backbone_seed
    return check_params(values, place).model_dump(mode="json")


def _fitting(entries: dict[str, Options], backbone: str) -> dict[str, Options]:
    """The entries that a backbone can take."""
    return {name: options for name, options in entries.items() if fits(method_of(name, options)[0], backbone)}


def checked_params(values: Mapping[str, Any]) -> Params:
    """The typed form of what `params_of` gave."""
    return check_params(dict(values))


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; one that there is not is for `check_params` to report."""
    *sections, leaf = key.split(".")
    place = values
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise InputError(f"set: {key}: {section} is no section")
        place = inner
    place[leaf] = value
