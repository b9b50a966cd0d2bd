"""A training step with READ, side by side with the same bottleneck without recurrence and with full fine-tuning.

    python -m benchmarks.adapters [--device cuda] [--backbone umt] [--size published|small] [--batch 8] [--repeats 7]

All contestants train the same backbone on the same 75 clips and 32 words, with padding, and take turns in one process.
On a CPU, times are CPU seconds of one thread, so that a busy machine does not distort the ratios. Memory is what a step
holds beside the weights of the backbone: tensors kept for the backward pass, gradients, and the optimiser's state.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from read.adapters import (
    activate,
    apply_strategy,
    deactivate,
    load_adapter,
    remove,
    save_adapter,
    trainable_parameters,
)
from read.backbones import Backbone, backbone_names, build_backbone

SIZES = {
    "published": {"video_dim": 2816, "text_dim": 512},  # the rest is every backbone's default
    "small": {"video_dim": 256, "text_dim": 128, "hidden": 96, "layers": 2, "feed_forward": 192},
}
CONTESTANTS = {
    "READ (gru, default)": ("read", {}),
    "READ (rnn)": ("read", {"mixer": "rnn"}),
    "READ (lstm)": ("read", {"mixer": "lstm"}),
    "READ (gru, both directions)": ("read", {"bidirectional": True}),
    "READ (mingru)": ("read", {"mixer": "mingru"}),
    "READ (ema)": ("read", {"mixer": "ema"}),
    "READ in a low-rank path": ("read_lora", {}),
    "the same, mingru": ("read_lora", {"mixer": "mingru"}),
    "the same without a cell": ("read_lora_control", {}),
    "LoRA": ("lora", {}),
    "no recurrence": ("read", {"mixer": "none"}),
    "full fine-tuning": ("full", {}),
}
CLIPS, WORDS = 75, 32


def moments_loss(outputs: dict[str, Tensor]) -> Tensor:
    """Something that all outputs of a grounding backbone have a part in."""
    return outputs["spans"].square().mean() + outputs["scores"].mean()


class Contestant:
    """A model with its strategy and optimiser, and what a step costs."""

    def __init__(
        self, backbone: nn.Module, strategy: str, options: dict, loss: Callable[[Any], Tensor] | None = None
    ) -> None:
        self.loss = loss or moments_loss
        self.model = apply_strategy(strategy, copy.deepcopy(backbone), **options).train()
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4)
        self.seconds: list[float] = []

    def step(self, batch: dict[str, Tensor]) -> None:
        """Forward, backward, update."""
        self.optimizer.zero_grad()
        self.loss(self.model(**batch)).backward()
        self.optimizer.step()

    def memory(self, batch: dict[str, Tensor]) -> int:
        """Bytes kept for the backward pass, of gradients and of the optimiser's state; every storage once."""
        kept: dict[int, int] = {}
        weights = {tensor.untyped_storage().data_ptr() for tensor in (*self.model.parameters(), *batch.values())}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self.step(batch)
        gradients = sum(p.grad.nbytes for p in self.model.parameters() if p.grad is not None)
        state = sum(
            value.nbytes for values in self.optimizer.state.values() for value in values.values() if value.dim()
        )
        return sum(kept.values()) + gradients + state


def make_batch(size: int, settings: dict, device: str) -> dict[str, Tensor]:
    clips, words = torch.randint(CLIPS // 2, CLIPS + 1, (size, 1)), torch.randint(5, WORDS + 1, (size, 1))
    batch = {
        "video": torch.randn(size, CLIPS, settings["video_dim"]),
        "video_mask": torch.arange(CLIPS) < clips,
        "text": torch.randn(size, WORDS, settings["text_dim"]),
        "text_mask": torch.arange(WORDS) < words,
    }
    return {key: value.to(device) for key, value in batch.items()}


def measured(action: Callable[[], None], device: str) -> float:
    """Seconds of one call: CPU time on a CPU, wall time with the queue drained on a GPU."""
    if device == "cpu":
        start = time.process_time()
        action()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def compare_steps(backbone: Backbone, batch: dict[str, Tensor], repeats: int, device: str) -> None:
    contestants = {name: Contestant(backbone, *choice) for name, choice in CONTESTANTS.items()}
    memory = {name: contestant.memory(batch) for name, contestant in contestants.items()}  # warms up as well
    for _ in range(repeats):
        for contestant in contestants.values():
            contestant.seconds.append(measured(lambda one=contestant: one.step(batch), device))
    seconds = {name: statistics.median(contestant.seconds) for name, contestant in contestants.items()}
    plain, full = seconds["no recurrence"], seconds["full fine-tuning"]
    print(f"{'step':28}{'trains':>12}{'seconds':>9}{'/ none':>8}{'/ full':>8}{'memory MB':>11}{'/ full':>8}")
    for name, contestant in contestants.items():
        trained, spent, held = trainable_parameters(contestant.model).total, seconds[name], memory[name]
        ratios = f"{spent / plain:8.2f}{spent / full:8.2f}{held / 1e6:11.1f}{held / memory['full fine-tuning']:8.2f}"
        print(f"{name:28}{trained:12,}{spent:9.3f}{ratios}")


def compare_switching(backbone: nn.Module, device: str) -> None:
    """Size of the default adapter's file; time to load it into a backbone at hand, and to switch."""
    model = copy.deepcopy(backbone)
    with tempfile.TemporaryDirectory() as folder:
        trained = apply_strategy("read", copy.deepcopy(backbone))
        save_adapter(trained, Path(folder) / "adapter")
        size = sum(file.stat().st_size for file in (Path(folder) / "adapter").iterdir())
        first = measured(lambda: load_adapter(model, Path(folder) / "adapter", adapter="first"), device)
        loads, switches = [], []
        for _ in range(10):
            loads.append(measured(lambda: load_adapter(model, Path(folder) / "adapter", adapter="second"), device))
            switches.append(measured(lambda: activate(model, "first"), device))
            remove(model, "second")
        off = measured(lambda: deactivate(model), device)
    print(f"adapter on disk {size / 1e3:.0f} kB")
    print(f"load {statistics.median(loads) * 1e3:.1f} ms (the first one, which takes the digest: {first * 1e3:.0f} ms)")
    print(f"switch {statistics.median(switches) * 1e3:.1f} ms, turn off {off * 1e3:.1f} ms")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure steps, memory, files and switches, and print them with their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--backbone", choices=backbone_names(), default="univtg")
    parser.add_argument("--size", choices=SIZES, default="published")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    settings = SIZES[options.size]
    backbone = build_backbone(options.backbone, **settings).to(options.device)
    total = sum(parameter.numel() for parameter in backbone.parameters())
    print(f"{options.backbone} {options.size}, {total:,} parameters; batch {options.batch}, {CLIPS} x {WORDS} tokens")
    compare_steps(backbone, make_batch(options.batch, settings, options.device), options.repeats, options.device)
    compare_switching(backbone, options.device)


if __name__ == "__main__":
    main()
