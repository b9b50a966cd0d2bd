"""Whether training may begin, on how many videos, and what it would change."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from read.errors import InputError
from read.files import write_jsonl
from read.studio import plan as module
from read.studio.plan import plan_training

ROOT = Path(__file__).parents[2]


@pytest.fixture
def working(tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    card = tmp_path / "data/catalog/mine"
    card.mkdir(parents=True)
    (card / "card.yaml").write_text("title: Mine\nsummaries: summaries.jsonl\n")
    return tmp_path


def labels_of(train: int, test: int, each: int = 2) -> list:
    sides = ["train"] * train + ["test"] * test
    return [
        SimpleNamespace(vid=f"v{number}", side=side, windows=[(0, 1)])
        for number, side in enumerate(sides)
        for _ in range(each)
    ]


def summarise(working: Path, train: int, test: int) -> None:
    rows = [{"vid": label.vid, "summary": "a walk", "split": label.side} for label in labels_of(train, test, 1)]
    write_jsonl(working / "data/catalog/mine/summaries.jsonl", rows)


@pytest.mark.parametrize(
    ("train", "test", "lacking"),
    [
        (0, 0, "2 more to learn from and 1 to test on (now 0 on the train side, 0 on the test side"),
        (1, 1, "1 more to learn from (now 1"),
        (9, 0, "label more videos: 1 to test on (now 9"),
    ],
)
def test_too_few_labelled_videos_are_told_by_side(working, train, test, lacking):
    plan = plan_training(working, "mine", labels_of(train, test))
    assert lacking in plan.why and plan.changes == [] and plan.shots == []


@pytest.mark.parametrize(
    ("train", "shots"), [(2, [1]), (3, [2]), (5, [2, 4]), (10, [2, 4, 8]), (30, [6, 12, 24]), (300, [60, 120, 240])]
)
def test_all_labelled_videos_train_or_choose_and_parts_of_them_make_the_curve(working, train, shots):
    plan = plan_training(working, "mine", labels_of(train, 4))
    assert (plan.labelled, plan.train, plan.test, plan.why) == (train + 4, train, 4, "")
    assert plan.shots == shots
    most = plan.shots[-1]
    assert most + max(1, round(0.25 * most)) <= train < most + 1 + max(1, round(0.25 * (most + 1)))
    assert plan.changes == [
        ("task", ["grounding", "summarization"], ["grounding"]), ("dataset", "montage", "mine"),
        ("runs.shots", [32], shots),
    ]  # fmt: skip


def test_summaries_are_learned_where_they_suffice_for_as_many_videos(working):
    summarise(working, 10, 2)
    plan = plan_training(working, "mine", labels_of(10, 4))
    assert "task" not in {key for key, *_ in plan.changes} and plan.notes == []
    summarise(working, 5, 2)
    plan = plan_training(working, "mine", labels_of(10, 4))
    assert ("task", ["grounding", "summarization"], ["grounding"]) in plan.changes
    assert "as many videos as are trained on, 8" in plan.notes[0] and "suffice for 4" in plan.notes[0]
    summarise(working, 10, 0)
    assert "but no test and no val" in plan_training(working, "mine", labels_of(10, 4)).notes[0]


def test_what_a_person_chose_stays_and_what_the_dataset_needs_follows(working):
    params = yaml.safe_load((working / "params.yaml").read_text())
    params |= {"task": ["summarization"], "source": "footage", "dataset": "footage", "features": "package"}
    params["split"]["val_share"] = 0.5
    (working / "params.yaml").write_text(yaml.safe_dump(params))
    changes = {key: new for key, _, new in plan_training(working, "mine", labels_of(9, 1)).changes}
    assert changes == {
        "task": ["grounding"], "dataset": "mine", "source": "mine", "features": "videos", "runs.shots": [3, 6],
    }  # fmt: skip


def test_a_protocol_that_the_labels_do_not_allow_is_the_reason(working):
    text = (working / "params.yaml").read_text()
    (working / "params.yaml").write_text(
        text.replace("protocol: honest", "protocol: transfer").replace("domain: null", "domain: cats")
    )
    assert "no video of kind 'cats'" in plan_training(working, "mine", labels_of(9, 3)).why
    (working / "params.yaml").write_text(text.replace("val_share: 0.25", "val_share: none"))
    assert "val_share is 'none', not" in plan_training(working, "mine", labels_of(9, 3)).why
    (working / "params.yaml").write_text(text.replace("val_share: 0.25  ", "# "))
    assert "split or runs.seeds" in plan_training(working, "mine", labels_of(9, 3)).why
    (working / "params.yaml").write_text(text)
    card = working / "data/catalog/mine/card.yaml"
    for broken in ("title: [", "- 1\n"):
        card.write_text(broken)
        with pytest.raises(InputError, match=r"card.yaml: not valid YAML"):
            plan_training(working, "mine", labels_of(9, 3))
    (working / "params.yaml").write_text("task: [")
    with pytest.raises(InputError, match="not valid YAML"):
        plan_training(working, "mine", labels_of(9, 3))


def test_the_plan_of_many_videos_takes_few_draws(working, monkeypatch):
    draws = []
    draw = module.make_split
    monkeypatch.setattr(module, "make_split", lambda *given: draws.append(1) or draw(*given))
    assert plan_training(working, "mine", labels_of(300, 200)).shots[-1] == 240
    assert len(draws) <= 3 * 11  # seeds, and halvings of 500
