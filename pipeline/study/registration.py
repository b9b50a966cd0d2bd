"""What is compared, and by which claims, is written down before the first test score, and holds from then on."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.code import code_digest
from pipeline.study.cells import Cell
from pipeline.study.schema import TASK, Study
from read.errors import InputError
from read.files import digest_of, read_json, write_json

FILE = "registration.json"
# Before the strategies; of train and evaluate each has its own.
STAGES = ("encoders", "extract", "transcribe", "split", "pretrain")


def register(study: Study, cells: Sequence[Cell], folder: Path, handed_out: bool = False) -> dict[str, Any]:
    """Write down the study and the code behind its scores, unless it binds: then both have to be the same.

    It binds once a test score is there, or commands were handed out that make some elsewhere.

    Args:
        study: what study.yaml says.
        cells: those that are about to be run.
        folder: of the study.
        handed_out: it binds from now on.

    Raises:
        InputError: the study or the code is other than what was registered.
    """
    now, file = written(study) | {"handed_out": handed_out, "code": code_of(cells)}, folder / FILE
    if not has_scores(folder) and not (file.is_file() and _known(file)["handed_out"]):
        write_json(file, now)
        return now
    known = _known(file)
    check_study_is(study, folder)
    changed = [name for name, digest in now["code"].items() if known["code"].get(name, digest) != digest]
    if changed:
        raise InputError(
            f"{file}: runs are under way, and the code of {', '.join(changed[:5])} is no longer the one that was "
            "registered before them. Go back to that code, or begin another study in a folder of its own: "
            "make study FOLDER=results/study-2, on new seeds"
        )
    if new := now["code"].keys() - known["code"].keys():  # of a setting that had not been run
        known["code"] |= {name: now["code"][name] for name in sorted(new)}
        write_json(file, known)
    return known


def check_study_is(study: Study, folder: Path) -> dict[str, Any]:
    """The registration, whose study this one has to be. Raises InputError with what differs."""
    file = folder / FILE
    known = _known(file)
    if known["hash"] != written(study)["hash"]:
        differences = list(_differences(known["study"], canonical(study)))
        raise InputError(
            f"{file}: runs are under way, and the study is no longer the one that was registered before them "
            f"({'; '.join(differences[:5])}). Put study.yaml back, or begin another study in a folder of its own: "
            "make study FOLDER=results/study-2, on new seeds"
        )
    return known


def written(study: Study) -> dict[str, Any]:
    """What is registered of a study's file."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    found = canonical(study)
    return {"date": now, "hash": digest_of(found), "tried": sum(each.forms for each in study.tried), "study": found}


def canonical(study: Study) -> dict[str, Any]:
    """A study without what is only shown: titles and the words of claims."""
    values = study.model_dump(mode="json", exclude={"title": True, "claims": {"__all__": {"claim"}}})
    for each in [*values["settings"].values(), *values["ablations"].values()]:
        each.pop("about")
    return values


def code_of(cells: Sequence[Cell]) -> dict[str, str]:
    """Digests of the code behind the scores: "<setting> <stage>", or "<setting> <stage> <strategy>", -> digest."""
    found = {}
    for cell in cells:
        with chdir(cell.folder):  # where its cards are
            for stage in STAGES:
                found[f"{cell.setting} {stage}"] = code_digest(stage, cell.params, TASK)
            for stage, name in product(("train", "evaluate"), cell.params.strategies):
                found[f"{cell.setting} {stage} {name}"] = code_digest(stage, cell.params, TASK, name)
    return found


def has_scores(folder: Path) -> bool:
    """Whether any run of the study has been scored."""
    return any(folder.glob(f"*/b*/results/runs/*/{TASK}/*/k*-s*/scores.json"))


def _known(file: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except FileNotFoundError:
        raise InputError(
            f"{file}: is missing, but there are test scores; what was registered before them is unknown"
        ) from None


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else str(name))
    elif before != now:
        yield f"{key}: {_short(before)} -> {_short(now)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
