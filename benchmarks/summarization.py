"""A training step and a generation with READ of BART-base's size, side by side with full fine-tuning.

    python -m benchmarks.summarization [--device cuda] [--size base|small] [--batch 4] [--repeats 3]

All work on the same transcripts, summaries and video steps, with padding, and take turns in one process; weights are
random. Times and memory are as in `benchmarks.adapters`. All generate as many tokens, with 5 beams and a cache.
"""

import argparse
import copy
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.adapters import Contestant, measured
from read.adapters import apply_strategy, trainable_parameters
from read.backbones.vg_fusion import VisualGuidanceConfig
from read.backbones.visual_guidance import VisualGuidance

SIZES = {
    "base": {},
    "small": {"vocab_size": 500, "d_model": 64, "layers": 2, "ffn_dim": 128, "attention_heads": 4},
}
BASE = {"vocab_size": 50265, "d_model": 768, "layers": 6, "ffn_dim": 3072, "attention_heads": 12}
TRANSCRIPT, SUMMARY, STEPS, VIDEO_DIM = 256, 64, 64, 2048  # tokens, tokens, steps of video, their width
BEAMS, GENERATED = 5, 32
CONTESTANTS = {"READ (default)": "read", "adapter": "adapter", "lora": "lora"}
FULL = "full fine-tuning"


def build(size: str) -> VisualGuidance:
    """A BART with random weights that sees a video."""
    from transformers import BartConfig, BartForConditionalGeneration  # after `read`, which mends torchvision for it

    settings = BASE | SIZES[size]
    sizes = {key: settings.pop(key) for key in ("layers", "ffn_dim", "attention_heads")}
    sides = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in sizes.items()}
    model = BartForConditionalGeneration(BartConfig(**settings, **sides))
    return VisualGuidance(model, VisualGuidanceConfig(video_dim=VIDEO_DIM, heads=sizes["attention_heads"]))


def make_batch(size: int, vocabulary: int, device: str) -> dict[str, Tensor]:
    real = torch.arange(TRANSCRIPT) < torch.randint(TRANSCRIPT // 2, TRANSCRIPT + 1, (size, 1))
    steps = torch.arange(STEPS) < torch.randint(STEPS // 2, STEPS + 1, (size, 1))
    batch = {
        "video": torch.randn(size, STEPS, VIDEO_DIM),
        "video_mask": steps,
        "input_ids": torch.randint(4, vocabulary, (size, TRANSCRIPT)),
        "attention_mask": real.long(),
        "labels": torch.randint(4, vocabulary, (size, SUMMARY)),
    }
    return {key: value.to(device) for key, value in batch.items()}


def compare_steps(model: VisualGuidance, batch: dict[str, Tensor], repeats: int, device: str) -> None:
    """One contestant's copy of the model at a time would not let them take turns: all are held."""
    choices = {FULL: "full"} | CONTESTANTS
    contestants = {name: Contestant(model, choice, {}, lambda out: out.loss) for name, choice in choices.items()}
    memory = {name: contestant.memory(batch) for name, contestant in contestants.items()}  # warms up as well
    for _ in range(repeats):
        for contestant in contestants.values():
            contestant.seconds.append(measured(lambda one=contestant: one.step(batch), device))
    seconds = {name: statistics.median(contestant.seconds) for name, contestant in contestants.items()}
    print(f"{'step':28}{'trains':>12}{'seconds':>9}{'/ full':>8}{'memory MB':>11}{'/ full':>8}")
    for name, contestant in contestants.items():
        trained, spent, held = trainable_parameters(contestant.model).total, seconds[name], memory[name]
        ratios = f"{spent / seconds[FULL]:8.2f}{held / 1e6:11.1f}{held / memory[FULL]:8.2f}"
        print(f"{name:28}{trained:12,}{spent:9.3f}{ratios}")


def compare_generation(model: VisualGuidance, batch: dict[str, Tensor], repeats: int, device: str) -> None:
    models = {"plain": copy.deepcopy(model)} | {
        name: apply_strategy(choice, copy.deepcopy(model)) for name, choice in CONTESTANTS.items()
    }
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    fixed = {"num_beams": BEAMS, "min_new_tokens": GENERATED, "max_new_tokens": GENERATED, "do_sample": False}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(repeats + 1):
        for name, each in models.items():
            seconds[name].append(measured(lambda one=each: one.eval().generate(**inputs, **fixed), device))
    print(f"{'generation':28}{'seconds':>9}{'/ plain':>9}")
    for name, spent in seconds.items():
        ratio = statistics.median(spent[1:]) / statistics.median(seconds["plain"][1:])  # the first warms up
        print(f"{name:28}{statistics.median(spent[1:]):9.3f}{ratio:9.2f}")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure steps, memory and generations, and print them with their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build(options.size).to(options.device)
    batch = make_batch(options.batch, model.seq2seq.config.vocab_size, options.device)
    total = sum(parameter.numel() for parameter in model.parameters())
    print(f"VG-BART {options.size}, {total:,} parameters; batch {options.batch} of {TRANSCRIPT} + {SUMMARY} tokens")
    compare_steps(model, batch, options.repeats, options.device)
    compare_generation(model, batch, options.repeats, options.device)


if __name__ == "__main__":
    main()
