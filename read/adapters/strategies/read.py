"""READ in its residual form: the cell's output is added to what it read."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy("recurrent bottleneck, residual", "Nguyen et al. 2024 (READ)")
