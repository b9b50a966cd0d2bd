"""VL-Adapter: one bottleneck for the layers of both modalities; published, after attention too."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "one bottleneck shared by the layers of both modalities",
    "Sung et al. 2022 (VL-Adapter)",
    mixer="none",
    shared=True,
)
