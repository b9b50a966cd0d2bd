"""Low-resource splits: k labelled videos to train on, nested in k, spread over the strata, other ones for every seed.

A stratum is a domain (the distinct `kind`s of a video's labels) and a bucket of how many windows they hold. The pool is
dealt into as many hands as there are that hold the largest k and its validation videos; seeds 0, 1, ... have a hand
each, so that none of their labelled videos is another's, until the hands are used up and a new deal begins. Where the
pool is smaller than two hands, every seed draws from all of it.

Three protocols say what is validated on:

* `honest`: a part of the train side; nothing of the side that is reported is looked at.
* `paper`: the reported side itself, as the literature does; optimistic, and labelled so.
* `transfer`: honest, inside one domain; the train sides of the others are listed for pretraining.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Literal

from read.data.leaks import youtube_id
from read.data.strata import Labelled, VideoLabels, count_strata, hand_of, order_of, pools_of, videos_of
from read.errors import InputError
from read.rows import SIDES
from read.settings import check_types


@dataclass(frozen=True)
class SplitSettings:
    """How a split is drawn.

    Attributes:
        val_share: validation videos per training video; at least one.
        test_share: of all videos; used only where no label names its side.
        test_seed: of the test side that is drawn.
        protocol: what is validated on, see the module.
        target: the `kind` that `transfer` adapts to.
        shots_per: whether k counts for the dataset or for each domain.
        largest: the largest k of the comparison, by which the pool is dealt; 0: every seed draws from all of it.

    Raises:
        InputError: a field of another type, an unknown protocol, or a target without `transfer` and the reverse.
    """

    val_share: float
    test_share: float
    test_seed: int = 0
    protocol: Literal["honest", "paper", "transfer"] = "honest"
    target: str = ""
    shots_per: Literal["dataset", "domain"] = "dataset"
    largest: int = 0

    def held(self, shots: int) -> int:
        """How many videos validate beside k that train."""
        return 0 if self.protocol == "paper" else max(1, round(self.val_share * shots))

    def __post_init__(self) -> None:
        check_types(self, "split")
        if (self.protocol == "transfer") != bool(self.target):
            raise InputError(
                f"protocol {self.protocol} with target {self.target!r}: "
                "transfer needs the kind to adapt to, no other does"
            )


@dataclass(frozen=True)
class Split:
    """Video ids of the sides, and the rule that made them.

    Attributes:
        rule: in words.
        seed: of the draw.
        shots: k, of the dataset or of every domain, as `shots_per` says.
        train: k videos, or k of every domain.
        val: what is selected on; of `paper`, the test side itself.
        test: what is reported.
        protocol: honest, paper or transfer.
        shots_per: dataset or domain.
        target: of transfer, the domain that is adapted to.
        source: of transfer, videos of the other domains that a pretraining may see.
        strata: domain and bucket of windows -> side -> number of videos.
    """

    rule: str
    seed: int
    shots: int
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    protocol: str = "honest"
    shots_per: str = "dataset"
    target: str = ""
    source: tuple[str, ...] = ()
    strata: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for (one, left), (other, right) in combinations(self.sides.items(), 2):
            if both := sorted(set(left) & set(right)):
                raise InputError(f"video {both[0]} stands on two sides, {one} and {other} ({len(both)} do)")

    @property
    def optimistic(self) -> bool:
        """Whether the reported side was looked at to select."""
        return self.protocol == "paper"

    @property
    def sides(self) -> dict[str, tuple[str, ...]]:
        """The sides that must not meet: of `paper`, whose validation side is its test side, it counts once."""
        val = {} if self.optimistic else {"val": self.val}
        return {"train": self.train, **val, "test": self.test, "source": self.source}

    def row(self) -> dict:
        """The split as JSON."""
        return asdict(self) | {"optimistic": self.optimistic}


def make_split(
    labels: Sequence[Labelled],
    shots: int,
    seed: int,
    settings: SplitSettings,
    recording: Callable[[str], str] = youtube_id,
) -> Split:
    """Draw a split by video.

    The test side is the side `test` of the labels; where there is none, their side `val`, which is then what the
    literature reports; where they say nothing, a `test_share` drawn once with `test_seed`, the same for every seed.

    The train side, or the seed's hand of it, is put in an order of which every beginning and every end holds of each
    domain its share, up or down to a whole number; within a domain so for each bucket of windows. The first k videos
    train, the last `val_share` times k validate, so that a larger k holds a smaller one. Labels that have a side `val`
    beside a side `test` give the validation videos from there. The very last video of a domain's order is the
    (seed mod n)-th of its n videos: one held-out video a domain (TVSum's 4, of which 3 train) is leave-one-out over n
    seeds.

    Args:
        labels: all annotations or all summaries of the dataset, of videos that have features.
        shots: k, the number of labelled videos to train on.
        seed: of the draw.
        settings: how.
        recording: id of a video -> of the recording that it was cut from; no recording is shared by two drawn sides.

    Raises:
        InputError: fewer videos than asked for, no video to test on, a video that its labels put on two sides, or a
            target that is no kind.
    """
    if shots < 1:
        raise InputError(f"shots is {shots}: at least one labelled video is needed")
    protocol, target, shots_per = settings.protocol, settings.target, settings.shots_per
    videos = videos_of(labels)
    sides, origin = _sides(videos, settings.test_share, settings.test_seed, recording)
    source: list[str] = []
    if target:
        sides, source = _transfer(videos, sides, target, recording)
    _check_sides(videos, sides, origin)
    held, most = settings.held(shots), max(shots, settings.largest) if settings.largest else 0
    pools = pools_of(sides["train"], videos, shots_per)
    _check_shots(pools, shots, settings.val_share, 0 if sides["val"] else held)
    needed = most + (settings.held(most) if most and not sides["val"] else 0)
    hands = {domain: hand_of(pool, videos, seed, needed) for domain, pool in pools.items()}
    train = [vid for hand in hands.values() for vid in hand.own[:shots]]
    each = " of each domain" if shots_per == "domain" else ""
    if protocol == "paper":
        val, held_out = sides["test"], "selected on the test side itself, so the scores are optimistic"
    else:
        own = pools_of(sides["val"], videos, shots_per)
        given = (hand_of(pool, videos, seed, settings.held(most) if most else 0) for pool in own.values())
        fronts = [[*hand.own, *hand.others] for hand in given]
        ends = [[*hand.own[::-1], *hand.others] for hand in hands.values()]  # others where a recording is in the way
        val = _hold_out(fronts or ends, held, train, recording)
        held_out = f"the {f'first {held} of the side val' if own else f'last {held}'}{each} validate; "
        held_out += "nothing of the test side is looked at"
    count = min(hand.hands for hand in hands.values())
    dealt = f", dealt into {count} hands{each} that share none, of which each seed has one" if count > 1 else ""
    rule = (
        f"{f'transfer to {target}' if target else protocol}; test side: {origin}; {len(sides['train'])} videos to "
        f"train on{dealt}, in an order by seed {seed} that spreads domains and numbers of windows: "
        f"the first {shots}{each} train, {held_out}"
    )
    drawn = {"train": train, "val": val, "test": sides["test"], "source": source}
    return Split(
        rule, seed, shots, **{name: tuple(vids) for name, vids in drawn.items()},
        protocol=protocol, shots_per=shots_per, target=target, strata=count_strata(videos, drawn),
    )  # fmt: skip


def reported_side(named: Collection[str]) -> str:
    """The side that is reported, of the sides that labels name: test, or else val; empty where they name none."""
    return next((side for side in ("test", "val") if side in named), "")


def _sides(
    videos: Mapping[str, VideoLabels], share: float, seed: int, recording: Callable[[str], str]
) -> tuple[dict[str, list[str]], str]:
    """The sides before anything is drawn for k, and words for where the test side is from."""
    named = {video.side for video in videos.values()}
    if not named - {""}:
        test = _draw_test(videos, share, seed, recording)
        sides = {"train": [vid for vid in videos if vid not in test], "val": [], "test": sorted(test)}
        return sides, f"a share of {share:g}, drawn once by seed {seed}"
    reported = reported_side(named)
    if not reported:
        raise InputError(
            "the labels name the side train, but no test and no val: say which videos are reported, or no side"
        )
    sides = {name: [vid for vid, video in videos.items() if (video.side or "train") == name] for name in SIDES[1:]}
    if reported == "test":
        return sides, "as the annotations say"
    return {"train": sides["train"], "val": [], "test": sides["val"]}, "as the annotations say, which call it val"


def _draw_test(
    videos: Mapping[str, VideoLabels], share: float, seed: int, recording: Callable[[str], str]
) -> Collection[str]:
    """A share of the videos, recordings kept whole."""
    cuts: dict[str, list[str]] = {}
    for vid in videos:
        cuts.setdefault(recording(vid), []).append(vid)
    count = max(1, round(share * len(videos)))
    test: set[str] = set()
    for vid in order_of(videos, videos, seed):
        if len(test) >= count:
            break
        test.update(cuts[recording(vid)])
    return test


def _transfer(
    videos: Mapping[str, VideoLabels], sides: dict[str, list[str]], target: str, recording: Callable[[str], str]
) -> tuple[dict[str, list[str]], list[str]]:
    """The sides of the target domain, and the videos of the other domains' train sides."""
    kinds = sorted({kind for video in videos.values() for kind in video.kinds})
    own = {name: [vid for vid in vids if target in videos[vid].kinds] for name, vids in sides.items()}
    for name in ("train", "test"):
        if not own[name]:
            raise InputError(
                f"no video of kind {target!r} is on the {name} side; kinds are {', '.join(kinds) or 'none'}"
            )
    unseen = {recording(vid) for vids in own.values() for vid in vids}
    return own, [vid for vid in sides["train"] if target not in videos[vid].kinds and recording(vid) not in unseen]


def _check_sides(videos: Collection[str], sides: Mapping[str, Sequence[str]], origin: str) -> None:
    """Raise InputError where nothing is left to train on, or to report on."""
    for side, purpose in (("train", "train"), ("test", "report")):
        if not sides[side]:
            other = len(sides["test" if side == "train" else "train"])
            raise InputError(
                f"no video is left to {purpose} on: of {len(videos)} labelled videos (cuts of one recording stay "
                f"together), {other} are on the other side ({origin}); label more videos: one to train on, one to "
                "choose the best step by and one to report on, at least"
            )


def _check_shots(pools: Mapping[str, Sequence[str]], shots: int, val_share: float, held: int) -> None:
    """Raise InputError where a pool is too small for k and what is held out."""
    for domain, pool in pools.items():
        if shots + held > len(pool):
            each = f" of {domain}" if domain else ""
            fitting = range(1, len(pool) + 1)
            largest = max((k for k in fitting if k + (held and max(1, round(val_share * k))) <= len(pool)), default=0)
            raise InputError(
                f"{shots} shots and {held} videos for validation were asked for, but the train side holds "
                f"{len(pool)} videos{each}; ask for at most {largest} shots"
            )


def _hold_out(
    orders: Iterable[Sequence[str]], count: int, train: Iterable[str], recording: Callable[[str], str]
) -> list[str]:
    """The first `count` of each order, or all of a shorter one, that share no recording with a training video."""
    seen, val = {recording(vid) for vid in train}, []
    for order in orders:
        free = [vid for vid in order if recording(vid) not in seen][:count]
        if len(free) < min(count, len(order)):
            raise InputError(
                f"{count} videos for validation were asked for, but only {len(free)} are of recordings that no "
                f"training video is cut from; ask for fewer shots or a smaller val_share"
            )
        val += free
    return val
