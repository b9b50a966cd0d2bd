"""Trained runs to a bundle."""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from read.bundle.card import card_of, readme
from read.bundle.folder import ADAPTER, CARD, CONFIG, FORMAT, MODEL, TASKS, VERSION, Bundle, differences
from read.bundle.vocabulary import words_of
from read.bundle.workspace import TrainedRun, find_run
from read.errors import InputError
from read.files import atomic_path, read_json, sha256_of, write_json, write_text


def export(runs: Sequence[str | Path], out: str | Path, *, weights: bool = True, licence: str = "other") -> Bundle:
    """Pack trained runs into one folder, whole or not at all, and check that it loads.

    Args:
        runs: folders of the train stage's, of one workspace or of several; the first becomes the default adapter. An
            adapter is named by its strategy, with shots and seed and then the dataset where that is not enough.
        out: the bundle's folder, new, empty or a bundle that is replaced.
        weights: pack the encoders' weights; False names public ones only, which `fetch` brings.
        licence: of the models, by the hub's name for it. The data's is told apart.

    Raises:
        InputError: a folder is no run's; runs do not go together; the encoders or the backbone have changed since the
            training; weights that are not public are to be left out; `out` holds something else.
    """
    found = [find_run(folder) for folder in runs]
    if not found:
        raise InputError(
            "export: no run to pack; name a folder, " + "models/adapters/<dataset>/<task>/<strategy>/k32-s0"
        )
    out = Path(out)
    _check_free(out)
    features = _features(found)
    _check_backbones(found)
    sources = {} if weights else _public_sources(found[0], features)
    named = dict(zip(names_of(found), found, strict=True))
    card = card_of(out.resolve().name, named, licence, _words(found))
    with atomic_path(out) as draft:
        for (task, name), run in named.items():
            _copy(run, draft, task, name)
        if weights:
            for name in features["encoders"]:
                _copy_files(found[0].encoders / name, draft / "encoders" / name, MODEL)
        _check_models(draft, named)
        tasks = {
            task: {"adapters": {name: _settings(run) for (of, name), run in named.items() if of == task}}
            for task in TASKS
            if any(of == task for of, _ in named)
        }
        files = {
            path.relative_to(draft).as_posix(): sha256_of(path) for path in sorted(draft.rglob("*")) if path.is_file()
        }
        config = {
            "format": FORMAT, "version": VERSION, "features": features, "encoders": sources,
            "tasks": tasks, "card": card, "files": files,
        }  # fmt: skip
        write_json(draft / CONFIG, config)
        write_text(draft / CARD, readme(card))
        Bundle.open(draft)
    return Bundle(out, config)


def names_of(runs: Sequence[TrainedRun]) -> list[tuple[str, str]]:
    """Task and name of each run's adapter: the shortest of three that tells the runs of a task apart.

    Raises:
        InputError: a run is there twice.
    """
    forms = [[run.label, f"{run.label}_{run.draw}", f"{run.dataset}_{run.label}_{run.draw}"] for run in runs]
    clean = [[_identifier(form) for form in each] for each in forms]
    names = []
    for run, options in zip(runs, clean, strict=True):
        for level, name in enumerate(options):
            same = Counter(other[level] for one, other in zip(runs, clean, strict=True) if one.task == run.task)
            if same[name] == 1:
                break
        else:
            raise InputError(f"export: {run.folder} is there twice, or under a name that differs in punctuation only")
        names.append((run.task, name))
    return names


def _identifier(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return name if name[0].isalpha() else f"a{name}"


def _check_free(out: Path) -> None:
    """Exporting replaces a folder, so it must not be one that holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not (out / CONFIG).is_file() or any(path.name.startswith(".") for path in out.iterdir()):
        raise InputError(f"{out}: is there already and is more than a bundle; name a new folder")
    Bundle.open(out)  # says what is strange in it


def _features(runs: Sequence[TrainedRun]) -> dict[str, Any]:
    """The spec of the features that all runs were trained on, found true of the encoders in the workspace."""
    from read.encoders.extractor import Extractor, ExtractorSettings

    first = _made(runs[0])
    if not first:
        raise InputError(f"{runs[0].folder / 'run.json'}: features: is missing; train the run with this version")
    if "package" in first:
        raise InputError(
            f"{runs[0].folder}: was trained on a package of published features; a bundle encodes videos by itself, so "
            "train on videos (features: videos in params.yaml) with the encoders that made the package"
        )
    for run in runs[1:]:
        if found := differences(_made(run), first):
            raise InputError(f"{run.folder}: trained on other features than {runs[0].folder}: {'; '.join(found)}")
    wanted = ExtractorSettings(first["fps"], first["clip_len"], normalise=first.get("normalise", True))
    spec = Extractor(wanted, runs[0].encoders, names=first["encoders"]).spec
    if found := differences(spec, first):
        raise InputError(f"{runs[0].encoders}: changed since {runs[0].folder} was trained: {'; '.join(found)}")
    return first


def _made(run: TrainedRun) -> dict[str, Any]:
    """What made a run's features; of which type their files were is nothing to who has none."""
    return {key: value for key, value in (run.record.get("features") or {}).items() if key != "dtype"}


def _check_backbones(runs: Sequence[TrainedRun]) -> None:
    """All runs of a task have adapted the same model."""
    first: dict[str, TrainedRun] = {}
    for run in runs:
        other = first.setdefault(run.task, run)
        for file in MODEL:
            if not (run.backbone / file).is_file():
                raise InputError(f"{run.backbone / file}: no such file; run the pretrain stage")
            if run.root != other.root and sha256_of(run.backbone / file) != sha256_of(other.backbone / file):
                raise InputError(f"{run.folder}: adapts another backbone than {other.folder}; export them apart")


def _check_models(draft: Path, named: dict[tuple[str, str], TrainedRun]) -> None:
    """Every adapter loads into its backbone, which says so where that was trained anew since."""
    from read.adapters import load_adapter
    from read.backbones.tokenizer import load_tokenizer
    from read.bundle.models import load_model
    from read.bundle.shapes import check_adapter

    for task, name in named:
        check_adapter(task, draft / task, draft / task / "adapters" / name)
        load_adapter(load_model(task, draft / task), draft / task / "adapters" / name)
        if task == "summarization":
            load_tokenizer(draft / task / "tokenizer")


def _public_sources(run: TrainedRun, features: dict[str, Any]) -> dict[str, str]:
    """Where each encoder's weights can be had by anybody. Raises InputError for those that cannot."""
    from read.bundle.fetch import public_source

    said = run.encoder_sources()
    sources = {name: public_source(name, each, said.get(name)) for name, each in features["encoders"].items()}
    if private := [name for name, source in sources.items() if source is None]:
        raise InputError(f"export: the weights of {' and '.join(private)} are not public; pack them into the bundle")
    return sources


def _words(runs: Sequence[TrainedRun]) -> list[str] | None:
    """The words of all texts that were learned from; None where the text encoder learned from the public's."""
    if runs[0].encoder_sources().get("clip", "unknown") is not None:
        return None
    return words_of(text for run in runs if run.task == "grounding" for text in run.texts()) or None


def _settings(run: TrainedRun) -> dict[str, Any]:
    return {"threshold": run.record.get("threshold"), "predict": run.record.get("predict", {})}


def _copy(run: TrainedRun, draft: Path, task: str, name: str) -> None:
    _copy_files(run.folder, draft / task / "adapters" / name, ADAPTER)
    if not (draft / task / MODEL[0]).exists():
        _copy_files(run.backbone, draft / task, MODEL)
        if task == "summarization":
            tokenizer = run.backbone / "tokenizer"
            _copy_files(tokenizer, draft / task / "tokenizer", [path.name for path in tokenizer.glob("*.json")])
            _drop_code(draft / task / "tokenizer/tokenizer_config.json")


def _drop_code(path: Path) -> None:
    """Take out of a tokenizer's config what names code or places; a bundle with such is refused."""
    from read.backbones.text_config import kept

    values = read_json(path) if path.is_file() else {}
    if kept(values) != values:
        write_json(path, kept(values))


def _copy_files(source: Path, target: Path, files: Sequence[str]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not (source / file).is_file():
            raise InputError(f"{source / file}: no such file; run the pipeline to its end")
        shutil.copyfile(source / file, target / file)
