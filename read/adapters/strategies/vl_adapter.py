"""VL-Adapter: one bottleneck for the layers of both modalities."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "one bottleneck shared by the layers of both modalities",
    "Sung et al. 2022 (VL-Adapter)",
    mixer="none",
    after=("attention", "feed_forward"),
    shared=True,
)
