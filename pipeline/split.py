"""Stage 4: low-resource splits, one per number of shots and seed, as JSON."""

from pathlib import Path

from pipeline import paths
from pipeline.cli import run, settings_parser
from read.data import FeatureStore, load_annotations, make_split
from read.errors import InputError
from read.files import write_json


def main() -> None:
    """Command line."""
    settings = settings_parser(__doc__).parse_args().settings
    annotations = load_annotations(paths.raw(settings.dataset) / "annotations.jsonl", settings.clip_len)
    videos = FeatureStore(paths.features(settings.dataset)).videos
    usable = [annotation for annotation in annotations if annotation.vid in videos]
    if not usable:
        manifest = paths.raw(settings.dataset) / "manifest.json"
        raise InputError(f"{settings.dataset}: no annotated video has features; {manifest} says what is missing")
    folder = Path("data/splits", settings.dataset)
    files = []
    for shots in settings.runs.shots:
        for seed in settings.runs.seeds:
            rule = settings.split
            split = make_split(usable, shots, seed, rule.val_share, rule.test_share, rule.test_seed)
            file = paths.split_file(settings.dataset, shots, seed)
            write_json(file, split.row())
            files.append(file)
            print(f"{file}: {len(split.train)} train, {len(split.val)} validation, {len(split.test)} test videos")
    for stale in set(folder.glob("k*.json")) - set(files):
        stale.unlink()
    write_json(folder / "splits.json", [file.name for file in files])


if __name__ == "__main__":
    run(main)
