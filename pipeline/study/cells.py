"""The workspaces of a study: the checkout's own code by links, params of their own, videos shared.

    <folder>/<setting>/catalog        cards; a link to the checkout's, or what the setting's command made
    <folder>/<setting>/raw            videos and labels, the same for all seeds of the backbone
    <folder>/<setting>/b<seed>        a cell
    <folder>/<setting>/b<seed>-ablations   the same backbone and features by links, other strategies

All links are relative, so that the folder can be copied with the checkout.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from pipeline import paths
from pipeline.card import load_card
from pipeline.params import Params
from pipeline.study.schema import ABLATIONS, TASK, Study, checked_params, params_of
from read.errors import InputError
from read.files import write_text

CODE = ("Snakefile", "dvc.yaml", "pipeline", "read", "profiles")
# Of a backbone's seed, by its ablations.
SHARED = ("data/features", "data/transcripts", "models/encoders", "models/backbone")
NO_GIT = (
    "[core]\n    no_scm = true\n"  # a cell is nothing that DVC records, and no part of the checkout's own artifacts
)


@dataclass(frozen=True)
class Cell:
    """One workspace.

    Attributes:
        folder: where it lies.
        setting: its name in study.yaml.
        backbone_seed: of the encoders that are trained here, and of pretraining.
        part: "runs" or "ablations".
        params: what its params.yaml says.
    """

    folder: Path
    setting: str
    backbone_seed: int
    part: str
    params: Params

    @property
    def name(self) -> str:
        """For people: setting and folder."""
        return f"{self.setting}/{self.folder.name}"

    @property
    def results(self) -> Path:
        """Where its scores lie."""
        return self.folder / paths.results(self.params.dataset, TASK)

    @cached_property
    def mapped(self) -> bool:
        """Whether its features hold a space that pictures and sentences share, so that the linear map is a row."""
        card = load_card(self.params.dataset, self.folder.parent / "catalog")
        return card.joint(self.params.features, self.params.encoders, self.params.extract.normalise) is not None

    @property
    def runs(self) -> list[tuple[str, int, int]]:
        """(strategy, shots, seed) of all runs."""
        runs = self.params.runs
        return [(name, k, seed) for name in self.params.strategies for k in runs.shots for seed in runs.seeds]

    @property
    def before(self) -> list[str]:
        """Targets that the runs are trained from."""
        splits = paths.splits(self.params.dataset, TASK) / "splits.json"
        return [str(splits), str(paths.backbone(TASK) / "pretrain.json")]

    @property
    def targets(self) -> list[str]:
        """Targets that the study reads: scores of all runs and, beside the strategies, of what frames them."""
        dataset = self.params.dataset
        wanted = [paths.result(dataset, TASK, *run) for run in self.runs]
        wanted.append(paths.result(dataset, TASK, "zero_shot", 0, 0))
        if self.mapped and self.part != ABLATIONS:
            wanted += [
                paths.result(dataset, TASK, "map", *pair) for pair in dict.fromkeys(run[1:] for run in self.runs)
            ]
        references = paths.results(dataset, TASK) / "references.json"
        return [*(str(folder / "scores.json") for folder in wanted), str(references)]

    @property
    def missing(self) -> list[str]:
        """The targets that are not there."""
        return [target for target in self.targets if not (self.folder / target).is_file()]


def cells_of(study: Study, folder: Path, settings: Sequence[str]) -> list[Cell]:
    """The cells of some settings, those of the comparison first, then the ablations'."""
    parts = ["runs", *([ABLATIONS] if study.ablations else [])]
    return [
        Cell(place, setting, seed, part, checked_params(params_of(study, setting, seed, part)))
        for part in parts
        for setting in settings
        if part == "runs" or study.settings[setting].ablations
        for seed in study.seeds_of(setting)
        for place in [folder / setting / (f"b{seed}" if part == "runs" else f"b{seed}-{part}")]
    ]


def usable_settings(study: Study, folder: Path, wanted: Sequence[str]) -> Iterator[str]:
    """The settings whose datasets are there or can be made; the others are left out, with a word why.

    Raises:
        InputError: a name that is none of the settings.
    """
    for name in wanted:
        if name not in study.settings:
            raise InputError(f"{name} is no setting of the study; there are {', '.join(study.settings)}")
        if make_catalog(study, folder, name):
            yield name


def make_catalog(study: Study, folder: Path, setting: str) -> bool:
    """Let a setting have its cards; whether it has."""
    catalog, command = folder / setting / "catalog", study.settings[setting].catalog
    if command is None:
        _link(catalog, Path("data/catalog"))
    elif not catalog.is_dir():
        catalog.parent.mkdir(parents=True, exist_ok=True)
        draft = catalog.with_name(".catalog.part")  # the command's own; whole, it gets its name
        program = [sys.executable if word == "python" else word for word in command]
        done = subprocess.run([*program, str(draft)], capture_output=True, text=True)
        if done.returncode or not draft.is_dir():
            said = (done.stderr.strip() or done.stdout.strip() or "it made no folder").splitlines()[-1]
            print(f"{setting}: left out, since its datasets cannot be made here: {said}", file=sys.stderr)
            return False
        draft.rename(catalog)
    return True


def prepare(cell: Cell) -> None:
    """Make a cell's folder: links and params."""
    setting = cell.folder.parent
    (setting / "raw").mkdir(parents=True, exist_ok=True)
    for name in CODE:
        _link(cell.folder / name, Path(name))
    _link(cell.folder / "data/catalog", setting / "catalog")
    _link(cell.folder / "data/raw", setting / "raw")
    if cell.part == ABLATIONS:
        for name in SHARED:
            _link(cell.folder / name, setting / f"b{cell.backbone_seed}" / name)
    _write(cell.folder / ".dvc/config.local", NO_GIT)
    _write(cell.folder / "params.yaml", yaml.safe_dump(cell.params.model_dump(mode="json"), sort_keys=False))


def _link(place: Path, target: Path) -> None:
    """A relative link at a place to a path that is seen from the working directory."""
    wanted = os.path.relpath(target, place.parent)
    if place.is_symlink() and place.readlink() == Path(wanted):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(wanted)


def _write(path: Path, text: str) -> None:
    """Write a file unless it says the same: what depends on it goes by its time."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
