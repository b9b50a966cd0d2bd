"""READ with partial video-language alignment of its bottlenecks' states."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "recurrent bottleneck with the alignment loss", "Nguyen et al. 2024 (READ)", alignment=True
)
