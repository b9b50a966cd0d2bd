"""On which side of the split a video is: fixed when its first label is saved, so that more videos reshuffle nothing."""

from collections.abc import Collection, Iterable, Mapping

from read.studio.label import video_of
from read.studio.tables import Exchanges, Record

SHARES = {"train": 3, "test": 2}  # of five videos


def sides_of(
    labelled: Iterable[tuple[str, Mapping]], twins: Mapping[str, Collection[str]] | None = None
) -> dict[str, str]:
    """The side of every video that has a label.

    A video keeps the side that its labels say; where they say two, it is not tested on. A label that corrects an answer
    (`asked`) has its video trained with, and so has a copy that is trained with. Any other video goes to the side of
    its copy, else to that which is furthest below its share, in the order of the labels.

    Args:
        labelled: ids of videos, each with a line of a label.
        twins: copies of videos, which must not stand on two sides.
    """
    sides: dict[str, str] = {}
    asked: set[str] = set()
    twins = twins or {}
    for vid, line in labelled:
        side = line.get("split") or ""
        sides[vid] = side if sides.get(vid, "") in ("", "test") and side else sides.get(vid, "")
        if line.get("asked"):
            asked.add(vid)
    sides |= dict.fromkeys(asked, "train")
    trained = [vid for vid, side in sides.items() if side not in ("", "test")]
    while trained:
        copies = [vid for vid in twins.get(trained.pop(), ()) if sides.get(vid) in ("", "test")]
        sides |= dict.fromkeys(copies, "train")
        trained += copies
    have = {"test": sum(side == "test" for side in sides.values())}
    have["train"] = sum(side != "" for side in sides.values()) - have["test"]  # val is trained with, too
    for vid in [vid for vid, side in sides.items() if not side]:
        count = have["train"] + have["test"] + 1
        # In fifths of a video; the two are never equal, as they add up to five.
        side = max(SHARES, key=lambda side: SHARES[side] * count - 5 * have[side])
        side = next((sides[other] for other in twins.get(vid, ()) if sides.get(other)), side)
        sides[vid], have[side] = side, have[side] + 1
    return sides


def placed(pairs: Exchanges, lines: Iterable[Record], sides: Mapping[str, str]) -> Exchanges:
    """A change with all that it takes for every line to have its video's side.

    Args:
        pairs: the change.
        lines: all that there are after it.
        sides: of the videos.
    """
    pairs = list(pairs)
    fresh = {id(after): number for number, (_, after) in enumerate(pairs)}
    for line in lines:
        if line.get("split") != (side := sides[video_of(line)]):
            number = fresh.get(id(line))
            if number is None:
                pairs.append((line, line | {"split": side}))
            else:
                pairs[number] = (pairs[number][0], line | {"split": side})
    return pairs
