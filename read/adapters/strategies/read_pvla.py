"""READ with partial video-language alignment of its bottlenecks' states, and a contrast against their collapse.

As published (warmup and contrast 0), the loss draws a sentence to every video alike. The defaults tell its own from the
others; the score, on two seeds, does not decide. On the montage (32 labelled videos, seeds 0 and 1, 200 steps at a rate
of .008): validation score 56.0 and cosine with the own video / with others .61/.28, against 53.4 and .59/.57 as
published, and 55.2 and .31/.28 without the loss; with bottlenecks after attention too 55.0 and .75/.26, against 55.1
and .72/.61, and 55.8 and .54/.43.
"""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "recurrent bottleneck with the alignment loss", "Nguyen et al. 2024 (READ)", alignment=True
)
