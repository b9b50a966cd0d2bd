"""Stage 4: low-resource splits, one per number of shots and seed, as JSON; copies on two sides fail it."""

from types import SimpleNamespace

from torch import Tensor

from pipeline import paths
from pipeline.cli import run, task_parser
from pipeline.data import load_features, load_labels
from read.data import FeatureStore, SplitSettings, check_leaks, find_twins, make_split, one_for_copies
from read.errors import InputError
from read.files import write_json


class Joint:
    """The videos of the dataset, and those of another source dataset under names with its own in front.

    Attributes:
        source: the names of the latter; empty where the source is the dataset itself, or has other features.
    """

    def __init__(self, store: FeatureStore, settings: SimpleNamespace) -> None:
        self.source: set[str] = set()
        self._store = store
        if settings.source == settings.dataset:
            return
        self._other = load_features(settings.source, settings)
        if self._other.spec != store.spec:
            print(f"{settings.source} has other features: whether it holds copies of test videos cannot be told")
            return
        self._prefix = f"{settings.source}/"  # no id has a slash
        self.source = {f"{self._prefix}{vid}" for vid in self._other.videos}

    def video(self, vid: str) -> Tensor:
        """(N, d) features of a video."""
        if vid in self.source:
            return self._other.video(vid.removeprefix(self._prefix))
        return self._store.video(vid)


def main() -> None:
    """Command line."""
    arguments = task_parser(__doc__).parse_args()
    settings, task = arguments.settings, arguments.task
    labels = load_labels(task, settings.dataset, settings)
    rule, store = settings.split, load_features(settings.dataset, settings)
    usable = [label for label in labels if label.vid in store.videos]
    if not usable:
        manifest = paths.raw(settings.dataset) / "manifest.json"
        raise InputError(f"{settings.dataset}: no labelled video has features; {manifest} says what is missing")
    folder = paths.splits(settings.dataset, task)
    joint = Joint(store, settings)
    twins = find_twins(joint, {label.vid for label in usable} | joint.source)
    recording = one_for_copies(pair for pair in twins if not {pair.one, pair.other} & joint.source)
    how = SplitSettings(
        rule.val_share, rule.test_share, rule.test_seed, settings.protocol, settings.domain or "", rule.shots_per,
        largest=max(settings.runs.shots),
    )  # fmt: skip
    files = []
    for shots in settings.runs.shots:
        for seed in settings.runs.seeds:
            split = make_split(usable, shots, seed, how, recording)
            check_leaks(split.sides, twins)
            check_leaks({"test": split.test, "source": sorted(joint.source)}, twins)
            file = paths.split_file(settings.dataset, task, shots, seed)
            write_json(file, split.row())
            files.append(file)
            print(f"{file}: {len(split.train)} train, {len(split.val)} validation, {len(split.test)} test videos")
    for stale in set(folder.glob("k*.json")) - set(files):
        stale.unlink()
    write_json(folder / "splits.json", [file.name for file in files])


if __name__ == "__main__":
    run(main)
