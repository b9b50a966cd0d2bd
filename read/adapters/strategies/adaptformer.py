"""AdaptFormer: a scaled bottleneck beside what it adapts; published, beside the feed-forward block alone."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "scaled parallel bottleneck",
    "Chen et al. 2022 (AdaptFormer)",
    mixer="none",
    placement="parallel",
    scale=0.1,
)
