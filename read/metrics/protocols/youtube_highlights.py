"""YouTube Highlights (Sun et al. 2014): average precision of ranking clips."""

from read.metrics import highlights
from read.metrics.judged import Ranking

PROTOCOL = Ranking("HL-mAP", highlights.youtube_map, highlights.youtube_levels, annotators=False).protocol
