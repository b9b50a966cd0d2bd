"""READ in a low-rank path: LoRA's update, with a recurrence over what passes through it.

A scale of 2 is what the strategy lora has at its default rank.
"""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "recurrence in a low-rank path",
    "Nguyen et al. 2024 (READ), in the place of Hu et al. 2022 (LoRA)",
    placement="low_rank",
    scale=2.0,
    bidirectional=True,
    bottleneck=4,
)
