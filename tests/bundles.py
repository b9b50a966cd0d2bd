"""A workspace as the pipeline leaves one, with models of random weights."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from read.adapters import apply_strategy, save_adapter
from read.backbones import build_backbone, load_backbone
from read.backbones.summarization.small_bart import small_bart
from read.backbones.tokenizer import train_tokenizer
from read.backbones.visual_guidance import VisualGuidance
from read.encoders.base import Encoder
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.kinds.clip import new_tiny_clip
from read.encoders.kinds.slowfast import TINY, SlowFast
from read.files import write_json, write_jsonl, write_text

LEARNED = {"k2-s0": {"learning_rate": 0.001, "best_step": 4}, "k2-s1": {"learning_rate": 0.001, "best_step": 0}}
RUNS = {
    "grounding": {"read/k2-s0": 0.45, "read/k2-s1": None, "adapter/k2-s0": None, "full/k2-s0": 0.5, "bias/k2-s0": None},
    "summarization": {"read/k2-s0": None},
}  # and the thresholds
PREDICT = {"grounding": {"method": "spans", "nms": 0.5}, "summarization": {"beams": 2, "max_new_tokens": 8}}
TEXTS = ["the dog jumps over the fence", "a cat sits on the mat and looks at a bird", "rain falls on the empty street"]


def folder_of(workspace: Path, run: str, task: str = "grounding") -> Path:
    return workspace / "models/adapters/toy" / task / run


def make_workspace(
    root: Path,
    ears: Mapping[str, Encoder] | None = None,
    names: Iterable[str] = ("slowfast", "clip"),
    normalise: bool = True,
) -> Path:
    """With encoders that hear, the backbone is one that listens. Others that `names` lists are there already."""
    torch.manual_seed(0)
    names = [*names, *(ears or {})]
    for name, ear in (ears or {}).items():
        ear.save(root / "models/encoders" / name)
    new_tiny_clip().save(root / "models/encoders/clip")
    SlowFast.create(TINY).save(root / "models/encoders/slowfast")
    origins = {name: {"pretrained": None} for name in names}
    write_json(root / "models/encoders/encoders.json", origins)
    write_jsonl(root / "data/raw/toy_source/segments.jsonl", [{"vid": "s", "text": "The dog jumps over"}])
    rows = [
        {"vid": vid, "query": query} for vid, query in zip("abd", ("a cat's fence", "rain", "a secret"), strict=True)
    ]
    write_jsonl(root / "data/raw/toy/annotations.jsonl", rows)
    extractor = Extractor(ExtractorSettings(normalise=normalise), root / "models/encoders", names=names)
    video_dim = sum(encoder.dim for encoder in extractor.encoders.values())
    sizes = {"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 24, "max_clips": 4}
    dims = {"video_dim": video_dim, "text_dim": extractor.reader.text_dim}
    kind, heard = ("umt", sum(ear.dim for ear in ears.values())) if ears else ("univtg", 0)
    listening = {"audio_dim": heard, "sound_start": video_dim - heard, "sound_dim": heard} if ears else {}
    build_backbone(kind, **dims, **sizes, **listening).save(root / "models/backbone/grounding")
    tokenizer = train_tokenizer(TEXTS, 280)
    bart = small_bart(len(tokenizer), video_dim, hidden=16, layers=1, heads=2, feed_forward=24, positions=64)
    bart.save(root / "models/backbone/summarization")
    tokenizer.save_pretrained(root / "models/backbone/summarization/tokenizer")
    card = "title: Toys\nlicence: CC0-1.0\nvideos: {source: local, folder: videos}\n"
    write_text(root / "data/catalog/toy/card.yaml", card)
    for task, runs in RUNS.items():
        pretrained = {"backbone": "small", "source": "toy_source", "features": extractor.spec}
        write_json(root / "models/backbone" / task / "pretrain.json", pretrained)
        for number, (run, threshold) in enumerate(runs.items()):
            _train(root, task, run, number, extractor.spec, threshold)
    return root


def _train(root: Path, task: str, run: str, number: int, spec: dict, threshold: float | None) -> None:
    strategy, draw = run.split("/")
    backbone = root / "models/backbone" / task
    model = load_backbone(backbone) if task == "grounding" else VisualGuidance.load(backbone)
    apply_strategy(strategy, model)
    torch.manual_seed(number)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    save_adapter(model, folder_of(root, run, task))
    record = {"dataset": "toy", "task": task, "strategy": strategy, "shots": 2, "seed": int(draw[-1]), "features": spec}
    write_json(folder_of(root, run, task) / "run.json", record | {"threshold": threshold} | LEARNED[draw])
    scores = {"scores": {"MR-full-mAP": 30.0 + number, "HL-clip-AP": 50.0}, "predict": PREDICT[task]}
    write_json(root / "results/runs/toy" / task / run / "scores.json", record | scores)
    split = {"rule": "drawn", "seed": 0, "shots": 2, "train": ["a", "b"], "val": ["c"], "test": ["d", "e", "f"]}
    write_json(root / "data/splits/toy" / task / f"{draw}.json", split)
