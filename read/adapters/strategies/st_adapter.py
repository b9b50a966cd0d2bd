"""ST-Adapter: a bottleneck with a depthwise convolution over time."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "bottleneck with a depthwise convolution over time",
    "Pan et al. 2022 (ST-Adapter)",
    mixer="conv",
    residual=False,
)
