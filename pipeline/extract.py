"""Stage 3: features per clip of a shard's videos, and per word of the queries."""

import argparse
from pathlib import Path
from types import SimpleNamespace

from pipeline import paths
from pipeline.cli import add_settings, device_of, run
from read.data import FeatureStore, load_annotations, write_shard
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.frames import ffmpeg_binary
from read.errors import InputError
from read.files import read_json, write_json


def extractor_of(settings: SimpleNamespace) -> Extractor:
    """The extractor that params.yaml describes."""
    wanted = ExtractorSettings(settings.extract.fps, settings.clip_len, settings.extract.batch_size)
    return Extractor(wanted, paths.ENCODERS, device_of(settings.device))


def extract_shard(dataset: str, shard: str, settings: SimpleNamespace) -> None:
    """Features of the videos of one shard. A video that cannot be decoded is listed with its reason."""
    from tqdm import tqdm

    ffmpeg_binary()  # where it is absent, the job fails, and not each of its videos
    extractor = extractor_of(settings)
    videos = read_json(paths.raw(dataset) / "shards" / f"{shard}.json")["videos"]
    arrays, failed = {}, {}
    for vid, entry in tqdm(videos.items(), desc=f"{dataset} {shard}", unit="video"):
        try:
            features = extractor.video(paths.raw(dataset) / "videos" / entry["file"])
        except InputError as error:
            failed[vid] = str(error)
            print(f"{vid}: {error}")
            continue
        arrays |= {f"{encoder}/{vid}": array for encoder, array in features.arrays.items()}
    write_shard(paths.features(dataset), shard, arrays, extractor.spec, failed)


def extract_text(dataset: str, settings: SimpleNamespace) -> None:
    """Features of all queries of a dataset."""
    extractor = extractor_of(settings)
    annotations = load_annotations(paths.raw(dataset) / "annotations.jsonl", settings.clip_len)
    words = extractor.text([annotation.query for annotation in annotations])
    arrays = {str(annotation.qid): array for annotation, array in zip(annotations, words, strict=True)}
    labels = {str(annotation.qid): extractor.clip.words(annotation.query) for annotation in annotations}
    write_json(paths.features(dataset) / "words.json", labels)
    write_shard(paths.features(dataset), "text", arrays, extractor.spec)


def collect(dataset: str) -> None:
    """Check that all shards agree, list what has features and what has not, and remove shards nobody asks for."""
    folder = paths.features(dataset)
    names = {path.stem for path in (paths.raw(dataset) / "shards").glob("*.json")} | {"text"}
    for path in folder.iterdir():
        if path.stem not in names | {"features", "words"}:
            path.unlink()
    store = FeatureStore(folder)
    if not store.videos:
        reasons = "\n".join(f"  {vid}: {reason}" for vid, reason in list(store.failed.items())[:10])
        raise InputError(f"{dataset}: no video could be decoded\n{reasons}")
    for vid, reason in store.failed.items():
        print(f"no features of {vid}: {reason}")
    write_json(folder / "features.json", {"videos": len(store.videos), "failed": store.failed, "spec": store.spec})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["shard", "text", "collect"])
    parser.add_argument("dataset", help="a folder of data/raw/")
    parser.add_argument("shard", nargs="?", help="its number, as 003; with `shard`")
    add_settings(parser)
    arguments = parser.parse_args()
    if arguments.part == "shard":
        if not Path(paths.raw(arguments.dataset), "shards", f"{arguments.shard}.json").is_file():
            raise InputError(f"{arguments.dataset}: no shard {arguments.shard}; run the download stage first")
        extract_shard(arguments.dataset, arguments.shard, arguments.settings)
    elif arguments.part == "text":
        extract_text(arguments.dataset, arguments.settings)
    else:
        collect(arguments.dataset)


if __name__ == "__main__":
    run(main)
