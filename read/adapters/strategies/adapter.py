"""Houlsby's adapter: a bottleneck after attention and after the feed-forward block."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "bottleneck after attention and feed-forward",
    "Houlsby et al. 2019",
    mixer="none",
    after=("attention", "feed_forward"),
)
