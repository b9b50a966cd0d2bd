"""READ as the paper draws it: everything passes through the cell."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "recurrent bottleneck, as published", "Nguyen et al. 2024 (READ)", mixer="rnn", residual=False
)
