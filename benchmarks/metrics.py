"""Time of one evaluation of 1550 queries, as many as QVHighlights val has, beside the public evaluator if it is there.

    python -m benchmarks.metrics
    python -m benchmarks.metrics --predictions preds.jsonl --annotations highlight_val_release.jsonl --peer moment_detr

`--peer` is a checkout of a repository that holds the public evaluator as `standalone_eval/` (it needs scikit-learn).
Both run in this process on one core: the evaluator's own pool of processes is turned off.
"""

import argparse
import contextlib
import copy
import functools
import io
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from read.files import read_jsonl
from read.metrics.grounding import evaluate, load_predictions

QUERIES, WINDOWS, CLIPS, ANNOTATORS = 1550, 10, 75, 3


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the ratio to the public evaluator where it was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=Path, help="jsonl; random ones when absent")
    parser.add_argument("--annotations", type=Path, help="jsonl; random ones when absent")
    parser.add_argument("--peer", type=Path, help="folder that holds standalone_eval/")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(argv)
    if (options.predictions is None) != (options.annotations is None):
        parser.error("--predictions and --annotations go together")
    if options.predictions:
        predictions, annotations = load_predictions(options.predictions), read_jsonl(options.annotations)
    else:
        predictions, annotations = random_rows(np.random.default_rng(0))

    ours, result = least_time(lambda: evaluate(predictions, annotations), options.repeats)
    print(f"{len(predictions)} queries, {sum(len(row['pred_relevant_windows']) for row in predictions)} windows")
    print(f"read.metrics      {ours:8.3f} s CPU (least of {options.repeats})")
    if options.peer:
        peer = public_evaluator(options.peer)
        theirs, published = least_time(lambda: peer(copy.deepcopy(predictions), annotations), 1)
        numbers = list(compare(result, published))
        print(f"public evaluator  {theirs:8.3f} s CPU, {theirs / ours:.0f} times as long")
        print(f"{sum(numbers)} of {len(numbers)} numbers are equal")


def random_rows(generator: np.random.Generator) -> tuple[list[dict], list[dict]]:
    """Predictions and annotations of QVHighlights' shape."""
    predictions, annotations = [], []
    for qid in range(QUERIES):
        first, last = np.sort(generator.choice(CLIPS + 1, 2, replace=False)).tolist()
        spans = np.sort(generator.uniform(0, 2 * CLIPS, (WINDOWS, 2)), axis=1)
        windows = np.concatenate([spans, generator.random((WINDOWS, 1))], axis=1)
        saliency = generator.normal(size=CLIPS)
        predictions.append(
            {"qid": qid, "pred_relevant_windows": windows.tolist(), "pred_saliency_scores": saliency.tolist()}
        )
        annotations.append(
            {
                "qid": qid,
                "duration": 2 * CLIPS,
                "relevant_windows": [[2 * first, 2 * last]],
                "relevant_clip_ids": list(range(first, last)),
                "saliency_scores": generator.integers(5, size=(last - first, ANNOTATORS)).tolist(),
            }
        )
    return predictions, annotations


def least_time(work: Callable[[], dict], repeats: int) -> tuple[float, dict]:
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        result = work()
        times.append(time.process_time() - begin)
    return min(times), result


def public_evaluator(folder: Path) -> Callable[[list[dict], list[dict]], dict]:
    sys.path.insert(0, str(folder))
    from standalone_eval import eval as public

    for name in ("compute_mr_ap", "compute_hl_ap"):
        setattr(public, name, without_workers(getattr(public, name)))

    def run(predictions: list[dict], annotations: list[dict]) -> dict:
        with contextlib.redirect_stdout(io.StringIO()):
            return public.eval_submission(predictions, annotations, verbose=False)

    return run


def without_workers(function: Callable) -> Callable:
    @functools.wraps(function)
    def alone(*args, **kwargs):
        return function(*args, **{**kwargs, "num_workers": 1})

    return alone


def compare(ours: dict, published: dict):
    """Whether ours equals it, for every number of the published dict."""
    for key, value in published.items():
        if isinstance(value, dict):
            yield from compare(ours[key], value)
        else:
            yield ours[key] == value


if __name__ == "__main__":
    main()
