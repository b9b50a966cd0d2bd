"""The low-rank path of read_lora without its cell: what the recurrence has to be better than."""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "low-rank path without a recurrence",
    "Hu et al. 2022 (LoRA)",
    placement="low_rank",
    scale=2.0,
    mixer="none",
    bottleneck=4,
)
