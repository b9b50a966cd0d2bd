"""What the stages after extraction see of a dataset."""

from pipeline.data import pretraining_videos
from read.data import make_split
from read.data.annotations import Annotation


def label(number: int) -> Annotation:
    kind, side = ("cooking", "sports")[number % 2], "test" if number >= 16 else "train"
    return Annotation(number, "q", f"v{number}", 8.0, ((2, 6),), (1, 2), ((4,), (4,)), kind, side)


def test_transfer_pretrains_on_the_train_sides_of_the_other_domains():
    labels = [label(number) for number in range(24)]
    seen = pretraining_videos(labels, "sports")
    assert seen == {one.vid for one in labels if one.kind == "cooking" and one.split == "train"}
    split = make_split(labels, 4, 1, 0.25, 0.4, protocol="transfer", target="sports")
    assert not seen & {*split.train, *split.val, *split.test}
    assert {*split.test} == {one.vid for one in labels if one.kind == "sports" and one.split == "test"}
    assert pretraining_videos(labels, None) is None
