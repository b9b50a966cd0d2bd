"""A training step with READ in a graph of torch.compile, side by side with the same step in eager mode.

    python -m benchmarks.compiled [--device cuda] [--size small|published] [--batch 16] [--repeats 7] [--mixers gru]

All contestants train the same UniVTG on the same 75 clips and 32 words, with padding, and take turns in one process.
Compiling comes before and is not counted. Times are as those of `benchmarks.adapters`.
"""

import argparse
import statistics
from collections.abc import Sequence
from functools import partial

import torch

from benchmarks.adapters import CLIPS, SIZES, WORDS, Contestant, make_batch, measured
from read.adapters.config import MIXERS
from read.backbones import build_backbone


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both, mixer by mixer, and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--mixers", nargs="+", choices=MIXERS, default=["none", "gru"])
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    backbone = build_backbone("univtg", **SIZES[options.size]).to(options.device)
    batch = make_batch(options.batch, SIZES[options.size], options.device)
    print(f"univtg {options.size}; batch {options.batch}, {CLIPS} x {WORDS} tokens")
    print(f"{'mixer':12}{'eager s':>9}{'compiled':>10}{'/ eager':>9}")
    for mixer in options.mixers:
        eager, compiled = (Contestant(backbone, "read", {"mixer": mixer}) for _ in range(2))
        compiled.model = torch.compile(compiled.model, fullgraph=True)
        for _ in range(2):  # torch warms up as well
            for contestant in (eager, compiled):
                contestant.step(batch)
        for _ in range(options.repeats):
            for contestant in (eager, compiled):
                contestant.seconds.append(measured(partial(contestant.step, batch), options.device))
        before, after = (statistics.median(contestant.seconds) for contestant in (eager, compiled))
        print(f"{mixer:12}{before:9.4f}{after:10.4f}{after / before:9.2f}", flush=True)


if __name__ == "__main__":
    main()
