"""TVSum (Song et al. 2015): average precision of the five best clips, for each annotator."""

from read.metrics import highlights
from read.metrics.judged import Ranking

PROTOCOL = Ranking("HL-top5-mAP", highlights.tvsum_top5_map, highlights.tvsum_levels, annotators=True).protocol
