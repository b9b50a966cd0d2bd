"""Stage 7: predictions on the test side and their scores, for each run and for the rows that frame them.

The frame: `random` ranks clips and draws windows by chance, `oracle` predicts the ground truth, `zero_shot` is the
backbone as it was pretrained.
"""

import argparse
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline import paths
from pipeline.cli import add_settings, device_of, run
from pipeline.data import load_samples
from read.adapters import load_adapter
from read.alignment import Alignment
from read.backbones import Backbone, load_backbone
from read.data import Annotation, Sample
from read.files import atomic_path, read_json, write_json, write_jsonl
from read.grounding.predict import predict
from read.grounding.windows import WindowSettings
from read.metrics.grounding import evaluate, oracle_level, random_level

Rows = list[dict[str, Any]]


def flat(scores: dict[str, Any]) -> dict[str, float]:
    """Scores under their published names, unrounded."""
    return {**scores["exact"]["brief"], **scores["exact"]["extra"]}


def by_kind(annotations: list[Annotation], score: Any) -> dict[str, Any]:
    """`score(annotations of one kind)` for every kind of query, where the annotations name kinds."""
    kinds = sorted({annotation.kind for annotation in annotations} - {""})
    return {kind: flat(score([a for a in annotations if a.kind == kind])) for kind in kinds}


def scores_of(predictions: Rows, annotations: list[Annotation], clip_len: float) -> dict[str, Any]:
    """Scores on all queries and on each kind of query, and how many of them there are."""

    def score(part: list[Annotation]) -> dict[str, Any]:
        wanted = {annotation.qid for annotation in part}
        return evaluate([row for row in predictions if row["qid"] in wanted], part, clip_len)

    return {
        "n_queries": len(annotations),
        "n_videos": len({annotation.vid for annotation in annotations}),
        "scores": flat(score(annotations)),
        "by_kind": by_kind(annotations, score),
    }


def test_side(split_file: Path, settings: SimpleNamespace) -> tuple[list[Sample], list[Annotation]]:
    """Samples and annotations of the test videos."""
    samples, _ = load_samples(settings.dataset, settings, read_json(split_file)["test"])
    return samples, [sample.annotation for sample in samples]


def evaluate_run(strategy: str, shots: int, seed: int, settings: SimpleNamespace) -> None:
    """Predict with one run's adapter; write predictions, scores, curve and transport plans."""
    trained = paths.adapter(settings.dataset, strategy, shots, seed)
    record = read_json(trained / "run.json")
    samples, annotations = test_side(paths.split_file(settings.dataset, shots, seed), settings)
    model = load_adapter(load_backbone(paths.BACKBONE), trained).to(device_of(settings.device))
    predictions = predict(model, samples, WindowSettings(settings.evaluate.windows))
    folder = paths.result(settings.dataset, strategy, shots, seed)
    write_jsonl(folder / "predictions.jsonl", predictions)
    write_plans(folder, model, samples, record["alignment"], paths.features(settings.dataset) / "words.json")
    shutil.copyfile(trained / "curve.csv", folder / "curve.csv")
    write_json(folder / "scores.json", record | scores_of(predictions, annotations, settings.clip_len))


def write_plans(
    folder: Path, model: Backbone, samples: list[Sample], alignment: dict[str, Any] | None, words_file: Path
) -> None:
    """Write which clips the alignment moves onto which words, for every test query; nothing for runs without one."""
    from safetensors.numpy import save_file

    plans, words = {}, {}
    if alignment is not None:
        labels = read_json(words_file)
        for sample, plan in zip(samples, Alignment(**alignment).plans(model, samples), strict=True):
            qid = str(sample.annotation.qid)
            plans[qid] = plan.astype("float32")
            words[qid] = {"words": labels[qid], "mass": alignment["mass"]}
    with atomic_path(folder / "plans.safetensors") as draft:
        save_file(plans, draft)
    write_json(folder / "plans.json", words)


def references(split_file: Path, settings: SimpleNamespace) -> None:
    """Write the scores of chance, of the ground truth and of the backbone as it is."""
    samples, annotations = test_side(split_file, settings)
    clip_len, draws = settings.clip_len, settings.evaluate.random_draws
    levels = {
        "random": lambda part: random_level(part, clip_len, draws=draws, seed=0),
        "oracle": lambda part: oracle_level(part, clip_len),
    }
    model = load_backbone(paths.BACKBONE).to(device_of(settings.device))
    predictions = predict(model, samples, WindowSettings(settings.evaluate.windows))
    total = sum(parameter.numel() for parameter in model.parameters())
    folder = paths.result(settings.dataset, "zero_shot", 0, 0)
    write_jsonl(folder / "predictions.jsonl", predictions)
    write_json(
        folder / "scores.json",
        {
            "strategy": "zero_shot", "shots": 0, "seed": 0, "backbone": model.name,
            "trainable": 0, "total": total, "share": 0.0, "adapter_bytes": 0, "learning_rate": None, "grid": [],
            "steps": 0, "best_step": 0, "seconds": 0.0,
        } | scores_of(predictions, annotations, clip_len),
    )  # fmt: skip
    write_json(
        Path("results/runs", settings.dataset, "references.json"),
        {
            name: {"scores": flat(level(annotations)), "by_kind": by_kind(annotations, level)}
            for name, level in levels.items()
        },
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    one = parts.add_parser("run", help="one run's adapter")
    one.add_argument("strategy", help="an entry of `strategies` in params.yaml")
    one.add_argument("--shots", type=int, required=True, help="labelled videos it was trained on")
    one.add_argument("--seed", type=int, required=True)
    frame = parts.add_parser("references", help="random, oracle and zero-shot")
    frame.add_argument("--split", type=Path, required=True, help="a split file; all have the same test side")
    add_settings(one)
    add_settings(frame)
    arguments = parser.parse_args()
    if arguments.part == "run":
        evaluate_run(arguments.strategy, arguments.shots, arguments.seed, arguments.settings)
    else:
        references(arguments.split, arguments.settings)


if __name__ == "__main__":
    run(main)
