"""AdaptFormer: a scaled bottleneck beside the feed-forward block."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "scaled bottleneck beside the feed-forward block",
    "Chen et al. 2022 (AdaptFormer)",
    mixer="none",
    placement="parallel",
    scale=0.1,
)
