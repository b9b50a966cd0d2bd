"""The alignment loss, forward and backward, side by side with what a user would pick instead.

    python -m benchmarks.transport [--device cuda]

All contestants see the same tokens and take turns within one process; times are medians over the repeats.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import ot
import torch
from torch import Tensor

from read.transport import Solver, certificate, pairwise_cost, partial_alignment_loss, partial_transport


def released_loss(video: Tensor, text: Tensor, temperature: float, rounds: int) -> Tensor:
    """The algorithm of the code released with the paper: sample by sample, every s, gradients through all rounds.

    As released, D is reset for every s, so that the last s alone counts, and the diagonal of a column vector is its
    first entry, so that rows and columns are scaled by one number each.
    """
    total = video.new_zeros(())
    for cost in pairwise_cost(video, text):
        rows, columns = cost.shape
        a, b = cost.new_full((rows, 1), 1 / rows), cost.new_full((columns, 1), 1 / columns)
        for mass in range(1, min(rows, columns) + 1):
            distance = cost.new_zeros(())
            plan = torch.exp(-cost / temperature)
            plan = plan * (mass / plan.sum())
            for _ in range(rounds):
                plan = torch.diag((a / plan.sum(1, keepdim=True)).clamp(max=1)) * plan
                plan = plan * torch.diag((b / plan.sum(0)[:, None]).clamp(max=1))
                plan = plan * (mass / plan.sum())
            distance = distance + (plan * cost).sum()
        total = total + distance
    return total / len(video)


def pot_loop(cost: Tensor, mass: float) -> Tensor:
    """A bare loop of POT's exact solver over the costs of a batch: no gradient, no masks; with transfers, if any."""
    _, rows, columns = cost.shape
    a, b = np.full(rows, 1 / rows), np.full(columns, 1 / columns)
    plans = [ot.partial.partial_wasserstein(a, b, block, m=mass) for block in cost.double().cpu().numpy()]
    return torch.from_numpy(np.stack(plans)).to(cost.device)


def pot_entropic_loop(cost: Tensor, mass: float, temperature: float) -> Tensor:
    """The same with POT's entropic solver, 100 rounds."""
    _, rows, columns = cost.shape
    a, b = np.full(rows, 1 / rows), np.full(columns, 1 / columns)
    plans = [
        ot.partial.entropic_partial_wasserstein(a, b, block, temperature, m=mass, numItermax=100)
        for block in cost.double().cpu().numpy()
    ]
    return torch.from_numpy(np.stack(plans)).to(cost.device)


def seconds(contestants: dict[str, Callable[[], object]], repeats: dict[str, int], device: str) -> dict[str, float]:
    """Median seconds of each contestant, in turns, after one turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(max(repeats.values()) + 1):
        for name, run in contestants.items():
            if turn > repeats[name]:
                continue
            start = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(spent[1:]) for name, spent in times.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the ratios with what they should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--shape", type=int, nargs=4, default=(32, 75, 32, 256), metavar=("B", "N", "M", "D"))
    parser.add_argument("--mass", type=float, default=0.5)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=50, help="of the released code, for each s")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args(argv)

    batch, rows, columns, width = options.shape
    torch.manual_seed(0)
    # A common part, as tokens of one video and its sentence have: costs are uneven and scalings must work.
    common = torch.randn(batch, 1, width)
    video = (torch.randn(batch, rows, width) + common * torch.rand(batch, rows, 1) * 2).to(options.device)
    text = (torch.randn(batch, columns, width) + common * torch.rand(batch, columns, 1) * 2).to(options.device)
    video.requires_grad_()
    text.requires_grad_()
    masks = [torch.ones(x.shape[:2], dtype=torch.bool, device=options.device) for x in (video, text)]
    cost = pairwise_cost(video, text).detach()

    def ours(solver: str) -> Callable[[], None]:
        def run() -> None:
            loss = partial_alignment_loss(
                video, text, *masks, mass=options.mass, solver=Solver(solver, options.temperature)
            )
            torch.autograd.grad(loss, (video, text))

        return run

    contestants = {
        "released algorithm, forward + backward": lambda: torch.autograd.grad(
            released_loss(video, text, options.temperature, options.rounds), (video, text)
        ),
        "POT exact, bare loop": lambda: pot_loop(cost, options.mass),
        "POT entropic, bare loop of 100 rounds": lambda: pot_entropic_loop(cost, options.mass, options.temperature),
        "read exact, forward + backward": ours("exact"),
        "read entropic, forward + backward": ours("entropic"),
    }
    repeats = dict.fromkeys(contestants, options.repeats)
    repeats["released algorithm, forward + backward"] = repeats["POT entropic, bare loop of 100 rounds"] = 3
    times = seconds(contestants, repeats, options.device)

    print(
        f"{options.device}, {torch.get_num_threads()} thread(s), B N M d = {tuple(options.shape)}, mass {options.mass}"
    )
    for name, spent in times.items():
        print(f"  {name:<42} {spent * 1e3:10.2f} ms")
    released, loop, _, exact, entropic = times.values()
    print(f"released / read exact      {released / exact:8.1f}   (at least 100 on a CPU)")
    print(f"read exact / POT loop      {exact / loop:8.2f}   (at most 1.5 on a CPU)")
    print(f"POT loop / read entropic   {loop / entropic:8.2f}   (at least 20 on a GPU)")
    for solver in ("exact", "entropic"):
        plan = partial_transport(cost, mass=options.mass, solver=Solver(solver, options.temperature))
        proof = certificate(plan, cost, mass=options.mass)
        print(f"largest gap of the {solver} plans {proof.gap.max().item():.1e}, all faults {proof.worst:.1e}")


if __name__ == "__main__":
    main()
