"""Houlsby's adapter without its second place: he has a bottleneck after attention as well.

That is `after: [attention, feed_forward]`. The default are the places of all kinds of bottleneck, so that what differs
between them is the bottleneck alone.
"""

from read.adapters.registry import bottleneck_strategy

STRATEGY = bottleneck_strategy(
    "plain bottleneck",
    "Houlsby et al. 2019",
    mixer="none",
)
