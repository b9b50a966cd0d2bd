"""Stage 3: features per clip of a shard's videos, and per word of the queries; extracted, or taken from a package."""

import argparse
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.cli import add_settings, run
from pipeline.kept import kept_features, kept_pieces, put_by
from pipeline.machine import chosen_device, told
from pipeline.packed import unpacked
from read.data import Annotation, FeatureStore, load_annotations, write_shard
from read.data.features import text_arrays
from read.data.lengths import Length
from read.data.packages import Package
from read.encoders.extractor import Extractor, ExtractorSettings, VideoFeatures, load_encoder
from read.encoders.light import import_encoders
from read.encoders.program import ffmpeg_binary, ffmpeg_version
from read.encoders.weights import read_config
from read.errors import InputError
from read.files import digest_of, read_json, read_jsonl, sha256_of, write_json
from read.rows import id_key

CONTEXT = 77  # tokens that CLIP reads at most
SHOWN = 10  # videos or queries named in a message


def extractor_of(settings: SimpleNamespace) -> Extractor:
    """The extractor that params.yaml describes."""
    machine = told()
    decoders = None if machine.decoders == "auto" else machine.decoders
    how = {"batch_size": machine.batch_size, "decoders": decoders, "half": machine.precision != "fp32"}
    what = {"fps": settings.extract.fps, "clip_len": settings.clip_len, "normalise": settings.extract.normalise}
    wanted = ExtractorSettings(**what, **how)
    return Extractor(wanted, paths.ENCODERS, chosen_device(), settings.encoders)


def stored(spec: dict[str, Any], settings: SimpleNamespace) -> dict[str, Any]:
    """The spec of features as they are written."""
    return spec if settings.extract.dtype == "float32" else spec | {"dtype": settings.extract.dtype}


def extract_shard(
    dataset: str, shard: str, settings: SimpleNamespace, code: str = "", footage: Path | None = None
) -> None:
    """Features of the videos of one shard. A video that cannot be decoded is listed with its reason.

    What other shards, or this one before, have of a video is taken over: made of the same content by the same `code`,
    the digest of extraction's; without it, nothing is. `footage` holds the videos and pieces, by default the dataset's
    folder.
    """
    listed = read_json(paths.raw(dataset) / "shards" / f"{shard}.json")
    if "features" in listed:
        _take_shard(dataset, shard, listed["features"], settings)
    else:
        _extract_shard(dataset, shard, listed["videos"], settings, code, footage or paths.raw(dataset))


def _extract_shard(
    dataset: str, shard: str, videos: dict[str, Any], settings: SimpleNamespace, code: str, footage: Path
) -> None:
    from tqdm import tqdm

    print(f"frames by {ffmpeg_version()}, {ffmpeg_binary()}")  # where it is absent, the job fails, and not each video
    extractor, folder, failed = extractor_of(settings), paths.features(dataset), {}
    spec = stored(extractor.spec, settings)
    made = {vid: _made_of(footage, entry, code, settings.clip_len) for vid, entry in videos.items()} if code else {}
    arrays, seconds, said = kept_features(folder, made, spec, ffmpeg_version())
    if seconds:
        print(f"{len(seconds)} of {len(videos)} videos have their features already")
    rest = {vid: entry for vid, entry in videos.items() if vid not in seconds}
    parts = {digest for vid in rest if isinstance(made.get(vid), list) for digest, _ in made[vid]}
    pieces = kept_pieces(folder, parts, spec, ffmpeg_version())
    if parts:
        print(f"{len(pieces)} of {len(parts)} pieces of the others have")
    files = _files(footage, rest, made, pieces)
    print(f"{extractor.decoders} files are decoded at once; their clips take {extractor.held / 2**20:.0f} MiB at most")
    done = extractor.videos([*files.values()])
    found = dict(tqdm(done, desc=f"{dataset} {shard}", total=len(files), unit="file"))
    found = {key: found[number] for number, key in enumerate(files)}
    found |= {digest: VideoFeatures(piece, 0.0) for digest, piece in pieces.items()}
    for vid, entry in rest.items():
        try:
            features = _features(vid, entry, made.get(vid), found)
        except InputError as error:
            failed[vid] = paths.told(str(error).replace(str(footage), str(paths.raw(dataset))))
            print(f"{vid}: {error}")
            continue
        arrays |= {f"{encoder}/{vid}": array for encoder, array in features.arrays.items()}
        seconds[vid] = features.seconds
        if features.told:
            said[vid] = features.told
            print(f"{vid}: {features.told}")
    put_by(folder, shard, made)
    seconds = {vid: seconds[vid] for vid in videos if vid in seconds}  # in one order, whatever was taken over
    made = {vid: made[vid] for vid in seconds if vid in made}
    write_shard(folder, shard, arrays, spec, failed, seconds, ffmpeg_version(), made, said)


def _made_of(footage: Path, entry: dict[str, Any], code: str, clip_len: float) -> str | list[list[Any]]:
    """See `pipeline.kept`."""
    parts = [(footage / paths.PIECES / name, seconds) for name, seconds in entry.get("pieces", ())]
    if not parts or not all(path.is_file() for path, _ in parts):
        return digest_of([code, entry["sha256"]])
    return [[digest_of([code, sha256_of(path)]), round(seconds / clip_len)] for path, seconds in parts]


def _files(footage: Path, videos: dict[str, Any], made: dict[str, Any], pieces: Collection[str]) -> dict[str, Path]:
    """What has to be decoded: videos, by their ids, and of those that are stitched the pieces, by their digests."""
    files = {}
    for vid, entry in videos.items():
        if isinstance(made.get(vid), list):
            for (digest, _), (name, _) in zip(made[vid], entry["pieces"], strict=True):
                if digest not in pieces:
                    files[digest] = footage / paths.PIECES / name
        else:
            files[vid] = footage / "videos" / entry["file"]
    return files


def _features(
    vid: str, entry: dict[str, Any], made: Any, found: Mapping[str, VideoFeatures | InputError]
) -> VideoFeatures:
    """Features of a video: of the whole, or of its pieces. `found` is what became of both, as in `_files`.

    Raises:
        InputError: it, or a piece, cannot be decoded.
    """
    parts = [found[vid]] if not isinstance(made, list) else [found[digest] for digest, _ in made]
    if failed := next((part for part in parts if isinstance(part, InputError)), None):
        raise failed
    if not isinstance(made, list):
        return parts[0]
    told: dict[str, None] = {}
    for part, (_, rows), (name, _) in zip(parts, made, entry["pieces"], strict=True):
        told |= {f"{name}: {part.told}": None} if part.told else {}
        if lengths := {len(array) for array in part.arrays.values()} - {rows}:
            raise InputError(f"{name}: a piece of {rows} clips has features of {lengths.pop()}; download it again")
    joined = {encoder: np.concatenate([part.arrays[encoder] for part in parts]) for encoder in parts[0].arrays}
    return VideoFeatures(joined, sum(seconds for _, seconds in entry["pieces"]), "; ".join(told))


def _take_shard(dataset: str, shard: str, vids: list[str], settings: SimpleNamespace) -> None:
    """Features of a shard's videos from the package. A file that is damaged or holds NaN is listed with its reason."""
    package, spec, _ = _package(dataset, settings)
    arrays, failed = {}, {}
    for vid in vids:
        try:
            arrays |= {f"{encoder}/{vid}": array for encoder, array in package.video(vid).items()}
        except InputError as error:
            failed[vid] = paths.told(error)
            print(f"{vid}: {error}")
    if package.cut:
        most = max(package.cut.values())
        print(f"{len(package.cut)} of {len(vids)} videos: some encoder has more clips, at most {most}; they were cut")
    write_shard(paths.features(dataset), shard, arrays, stored(spec, settings), failed)


def extract_text(dataset: str, settings: SimpleNamespace) -> None:
    """Features of a dataset's queries; with a package, of those whose videos it has. A dataset may have none."""
    annotations = _annotations(dataset, settings)
    if is_packaged(dataset):
        package, spec, clip = _package(dataset, settings)
        annotations = [annotation for annotation in annotations if not package.lacks(annotation.vid)]
    else:
        extractor = extractor_of(settings)
        package, spec, clip = None, extractor.spec, extractor.reader
    queries = [annotation.query for annotation in annotations]
    if not annotations:
        words, sentences, labels = [], None, []
    elif clip is None:
        words, sentences = _package_text(package, annotations)
        if "sentence" in spec:
            print(f"sentences in the space of {package.joint}: {spec['sentence']}")
        labels = [_labels(query, len(rows)) for query, rows in zip(queries, words, strict=True)]
    else:
        words, sentences = clip.read(queries)
        sentences = sentences if "joint" in spec else None
        labels = [clip.words(query) for query in queries]
    qids = [annotation.qid for annotation in annotations]
    write_json(paths.features(dataset) / "words.json", dict(zip(map(id_key, qids), labels, strict=True)))
    write_shard(paths.features(dataset), "text", text_arrays(qids, words, sentences), stored(spec, settings))


def is_packaged(dataset: str) -> bool:
    """Whether the download stage had a package of features in the place of videos."""
    lists = sorted((paths.raw(dataset) / "shards").glob("*.json"))
    return any("features" in read_json(path) for path in lists)


def _annotations(dataset: str, settings: SimpleNamespace, lengths: dict[str, Length] | None = None) -> list[Annotation]:
    path = paths.raw(dataset) / "annotations.jsonl"
    return load_annotations(path, settings.clip_len, lengths) if path.stat().st_size else []


def _package(dataset: str, settings: SimpleNamespace) -> tuple[Package, dict[str, Any], Any | None]:
    """The package, the spec of its features, and an encoder for the queries where it has no features of them.

    Raises:
        InputError: its clips are of another length than params.yaml says, or its joint space is not the encoder's.
    """
    package = Package(paths.raw(dataset))
    if package.clip_len != settings.clip_len:
        wanted = f"clip_len is {settings.clip_len:g} in params.yaml"
        raise InputError(f"{dataset}: the package has features per {package.clip_len:g} s, but {wanted}")
    if package.has_text or not read_jsonl(paths.raw(dataset) / "annotations.jsonl"):
        return package, package.spec, None
    clip = load_encoder(paths.ENCODERS / next(iter(settings.encoders)), chosen_device())
    spec = package.spec | {"text": clip.identity}
    if package.joint is not None and not (clip.joint and clip.dim == spec["encoders"][package.joint]["width"]):
        width = spec["encoders"][package.joint]["width"]
        there = f"are {clip.dim} wide" if clip.joint else "have no place among pictures"
        raise InputError(
            f"{dataset}: the card's joint encoder {package.joint} gives {width} numbers a clip, but sentences that "
            f"{clip.config['name']} reads {there}; list the encoder that made {package.joint} under encoders"
        )
    return package, spec, clip


def _package_text(package: Package, annotations: list[Annotation]) -> tuple[list[Any], list[Any] | None]:
    """Features of the queries' words, and their sentences in the joint space, where the card names one.

    Raises:
        InputError: some have none; a score without them would be another.
    """
    words, sentences, absent = [], [], []
    for annotation in annotations:
        try:
            words.append(package.text(annotation.qid, annotation.vid))
            if package.joint is not None:
                sentences.append(package.sentence(annotation.qid, annotation.vid))
        except InputError as error:
            absent.append(f"  query {annotation.qid}: {error}")
    if absent:
        more = [f"  ... and {len(absent) - SHOWN} more"] if len(absent) > SHOWN else []
        head = f"{len(absent)} of {len(annotations)} queries have no features in the package; with text: clip under "
        head += "features in the card, CLIP reads them:"
        raise InputError("\n".join([head, *absent[:SHOWN], *more]))
    return words, sentences if package.joint is not None else None


@cache
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def _labels(query: str, count: int) -> list[str]:
    """What each of a query's `count` tokens stands for, in pictures: CLIP's tokens if there are so many, else words."""
    tokenizer = _tokenizer()
    pieces = [tokenizer.decoder[piece].removesuffix("</w>") for piece in tokenizer.encode(query)]
    for tokens in (["[start]", *pieces[: CONTEXT - 2], "[end]"], pieces, query.split()):
        if len(tokens) == count:
            return tokens
    words = query.split()[:count]
    return words + [""] * (count - len(words))


def collect(dataset: str, settings: SimpleNamespace) -> None:
    """Check that all shards agree, list what has features and what has not, and remove shards nobody asks for.

    Raises:
        InputError: no video has features, or labels do not fit their videos; the message lists the lines that do not.
    """
    folder = paths.features(dataset)
    names = {path.stem for path in (paths.raw(dataset) / "shards").glob("*.json")} | {"text"}
    for path in folder.iterdir():
        if path.stem not in names | {"features", "words"}:
            path.unlink()
    store = FeatureStore(folder)
    if not store.videos:
        reasons = "\n".join(f"  {vid}: {reason}" for vid, reason in list(store.failed.items())[:SHOWN])
        what = "no video of the package has features" if "package" in store.spec else "no video could be decoded"
        raise InputError(f"{dataset}: {what}\n{reasons}")
    for vid, reason in store.failed.items():
        print(f"no features of {vid}: {reason}")
    for vid, said in store.told.items():
        print(f"{vid}: {said}")
    seconds = {vid: length.seconds for vid, length in sorted(store.lengths.items())}
    _annotations(dataset, settings, store.lengths)
    if len(store.decoders) > 1:
        print(f"videos were decoded by {' and by '.join(store.decoders)}; READ_FFMPEG chooses one for all")
    about = {"videos": len(store.videos), "failed": store.failed, "spec": store.spec, "seconds": seconds}
    about |= {"told": store.told, "decoders": store.decoders}
    digests = {path.stem: read_json(path)["sha256"] for path in sorted(folder.glob("*.json")) if path.stem in names}
    write_json(folder / "features.json", about | {"sha256": digests})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["shard", "text", "collect"])
    parser.add_argument("dataset", help="a folder of data/raw/")
    parser.add_argument("shard", nargs="?", help="its number, as 003; with `shard`")
    parser.add_argument("--code", default="", help="the digest of extraction's code; with `shard`")
    parser.add_argument("--encoders", nargs="*", default=[], help="their names, in the order of joining")
    parser.add_argument("--videos", type=Path, nargs="*", default=[], help="what they are packed in; with `shard`")
    add_settings(parser)
    arguments = parser.parse_args()
    arguments.settings.encoders = arguments.encoders
    import_encoders({name: read_config(paths.ENCODERS / name) for name in arguments.encoders})
    if arguments.part == "shard":
        if not Path(paths.raw(arguments.dataset), "shards", f"{arguments.shard}.json").is_file():
            raise InputError(f"{arguments.dataset}: no shard {arguments.shard}; run the download stage first")
        with unpacked(arguments.videos, paths.raw(arguments.dataset)) as footage:
            extract_shard(arguments.dataset, arguments.shard, arguments.settings, arguments.code, footage)
    elif arguments.part == "text":
        extract_text(arguments.dataset, arguments.settings)
    else:
        collect(arguments.dataset, arguments.settings)


if __name__ == "__main__":
    run(main)
