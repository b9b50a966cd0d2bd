"""Fields of settings are of the types that their annotations name."""

import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from read.alignment import Alignment
from read.backbones import build_backbone, load_backbone
from read.data import SplitSettings
from read.errors import InputError
from read.settings import check_types, make_settings
from read.train import TrainSettings
from read.transport import Solver


@dataclass
class Made:
    count: int
    rate: float = 0.5
    on: bool = True
    name: str | None = None
    kind: Literal["left", "right", 3] = "left"
    names: tuple[str, ...] = ()
    other: object = None

    def __post_init__(self):
        check_types(self, "made")


@pytest.mark.parametrize(
    "values",
    [
        {"count": np.int64(3), "rate": 1, "kind": 3},
        {"count": 0, "rate": np.float32(0.5), "name": "x", "names": ("a", "b"), "other": [1]},
    ],
)
def test_what_fits(values):
    assert vars(make_settings(Made, values, "made")) | values == vars(Made(**values))


def test_all_that_does_not_fit_is_told_at_once():
    wrong = {"count": 1.0, "rate": float("nan"), "on": 1, "name": 3, "kind": "lefft", "names": ("a", 1)}
    with pytest.raises(InputError) as caught:
        Made(**wrong)
    assert str(caught.value) == (
        "made: count is 1.0, not a whole number; rate is nan, not a finite number; on is 1, not true or false; "
        "name is 3, not a text or nothing; kind 'lefft' is none of left, right, 3; did you mean left?; "
        "names is ('a', 1), not a tuple of which each is a text"
    )
    for value in (True, "3", None, [3], float("inf")):
        with pytest.raises(InputError, match="count is "):
            Made(value)


def test_unknown_and_missing_fields_are_named():
    with pytest.raises(InputError, match="made has no setting counts; it has count, kind, name,"):
        make_settings(Made, {"counts": 3}, "made")
    with pytest.raises(InputError, match="made: count is missing"):
        make_settings(Made, {"rate": 0.5}, "made")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: TrainSettings(steps=10.0), "train: steps is 10.0, not a whole number"),
        (lambda: TrainSettings(learning_rate="1e-3"), "train: learning_rate is '1e-3', not a finite number"),
        (lambda: TrainSettings(schedule="cosin"), "'cosin' is none of cosine, constant; did you mean cosine"),
        (lambda: TrainSettings(warmup=2.0), "warmup a share from 0 to 1"),
        (lambda: SplitSettings("half", 0.4), "split: val_share is 'half', not a finite number"),
        (lambda: SplitSettings(0.25, 0.4, protocol="fair"), "'fair' is none of honest, paper, transfer"),
        (lambda: Alignment(mass="all"), "alignment: mass is 'all', not a finite number"),
        (lambda: Alignment(solver="simplex"), "solver: must be one of exact"),
        (lambda: Solver(max_iterations=True), "solver: max_iterations is True, not a whole number"),
        (lambda: build_backbone("umt", video_dim="8", text_dim=8), "umt: video_dim is '8', not a whole number"),
        (lambda: build_backbone("umt", video_dim=8), "backbone umt: text_dim is missing"),
    ],
)
def test_settings_check_their_types(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"hidden": "16"}, r"config\.json: univtg: hidden is '16', not a whole number"),
        ({"tef": "no"}, r"config\.json: univtg: tef is 'no', not true or false"),
        ({"layers": None, "drop_path": [0.1]}, r"layers is None, .*; drop_path is \[0\.1\]"),
        ({"backbone": 3}, r'config\.json: not of a backbone, whose "backbone" is its name'),
        ({"backbone": "univgt"}, r"config\.json: no backbone 'univgt'; did you mean univtg"),
        ({"name": 3}, "has no setting name"),
        ({"depth": 3}, r"config\.json: backbone univtg has no setting depth"),
    ],
)
def test_a_stored_backbone_is_checked_by_its_types(change, message, tmp_path):
    build_backbone("univtg", video_dim=6, text_dim=5, hidden=16, heads=2, layers=1, feed_forward=8).save(tmp_path / "m")
    path = tmp_path / "m/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load_backbone(tmp_path / "m")


@pytest.mark.parametrize("text", ["[]", '"univtg"', "{}", "{"])
def test_a_config_that_is_none_is_named(text, tmp_path):
    build_backbone("univtg", video_dim=6, text_dim=5, hidden=16, heads=2, layers=1, feed_forward=8).save(tmp_path / "m")
    (tmp_path / "m/config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json: "):
        load_backbone(tmp_path / "m")
