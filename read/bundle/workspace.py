"""Where a trained run and what belongs to it lie in a workspace of the pipeline. Nothing else in the library knows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from read.bundle.folder import TASKS
from read.errors import InputError, optional_imports
from read.files import read_json, read_jsonl

SENTENCES = {"segments.jsonl": "text", "annotations.jsonl": "query"}  # file -> key
PLACE = "models/adapters/<dataset>/<task>/<strategy>/k32-s0"


@dataclass(frozen=True)
class TrainedRun:
    """One trained adapter: where it lies, and what the stages wrote of it.

    Attributes:
        folder: of the adapter.
        root: of the workspace.
        label: the strategy's name in params.yaml.
        draw: shots and seed, as k32-s0.
        record: `run.json`, joined by `scores.json` where the run was evaluated.
    """

    folder: Path
    root: Path
    dataset: str
    task: str
    label: str
    draw: str
    record: dict[str, Any]

    @property
    def backbone(self) -> Path:
        """Folder of the model that was adapted."""
        return self.root / "models/backbone" / self.task

    @property
    def encoders(self) -> Path:
        """Folder of the encoders' weights."""
        return self.root / "models/encoders"

    def encoder_sources(self) -> dict[str, str | None]:
        """Where each encoder's weights came from; None for those that were trained here."""
        found = _read(self.encoders / "encoders.json") or {}
        return {name: values.get("pretrained") for name, values in found.items()}

    def pretraining(self) -> dict[str, Any]:
        """What the pretrain stage wrote of the backbone."""
        return {
            key: value for key, value in (_read(self.backbone / "pretrain.json") or {}).items() if key != "features"
        }

    def split(self) -> dict[str, Any]:
        """The split's rule, and how many videos it has on each side."""
        found = _read(self.root / "data/splits" / self.dataset / self.task / f"{self.draw}.json") or {}
        return {key: len(value) if isinstance(value, list) else value for key, value in found.items()}

    def texts(self) -> list[str]:
        """The sentences of the source dataset, and those of the run's own training videos."""
        found = []
        for dataset, videos in ((self.pretraining().get("source"), None), (self.dataset, set(self._side("train")))):
            folder = self.root / "data/raw" / str(dataset)
            for name, key in SENTENCES.items():
                rows = read_jsonl(folder / name) if (folder / name).is_file() else []
                found += [str(row[key]) for row in rows if videos is None or row["vid"] in videos]
        return found

    def _side(self, side: str) -> list[str]:
        path = self.root / "data/splits" / self.dataset / self.task / f"{self.draw}.json"
        return (_read(path) or {}).get(side, [])

    def decoders(self) -> list[str]:
        """The programs and versions that decoded the dataset's videos."""
        return (_read(self.root / "data/features" / self.dataset / "features.json") or {}).get("decoders", [])

    def data(self) -> dict[str, str]:
        """What the dataset's card says of it: title, licence, homepage, citation."""
        with optional_imports():
            import yaml  # comes with the encoders' packages

        path = self.root / "data/catalog" / self.dataset / "card.yaml"
        card = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return {key: card[key] for key in ("title", "licence", "homepage", "citation") if card.get(key)}

    def scores_of_seeds(self) -> list[dict[str, float]]:
        """The scores of all evaluated runs that differ from this one in the seed only."""
        shots = self.draw.partition("-")[0]
        folder = self.root / "results/runs" / self.dataset / self.task / self.label
        return [read_json(path)["scores"] for path in sorted(folder.glob(f"{shots}-s*/scores.json"))]

    def untrained_scores(self) -> dict[str, dict[str, float]]:
        """What rows that need no training scored on the same test side, by their name; those that there are."""
        folder = self.root / "results/runs" / self.dataset / self.task
        found = {
            "cosine": (_read(folder / "references.json") or {}).get("cosine"),
            "map": _read(folder / "map" / self.draw / "scores.json"),
        }
        return {name: row["scores"] for name, row in found.items() if row}


def find_run(folder: str | Path) -> TrainedRun:
    """The run that the train stage wrote to a folder.

    Raises:
        InputError: the folder is no run's, or the run was not trained to its end.
    """
    folder = Path(folder).resolve()
    if len(folder.parts) < 7 or folder.parts[-6:-4] != ("models", "adapters") or folder.parts[-3] not in TASKS:
        raise InputError(f"{folder}: not the folder of a trained run, which is {PLACE}")
    if (record := _read(folder / "run.json")) is None:
        raise InputError(f"{folder / 'run.json'}: no such file; train this run first")
    root = folder.parents[5]
    dataset, task, label, draw = folder.parts[-4:]
    scores = _read(root / "results/runs" / dataset / task / label / draw / "scores.json") or {}
    return TrainedRun(folder, root, dataset, task, label, draw, scores | record)


def _read(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None
