"""params.yaml: single values changed in a person's file, and nothing else in it."""

import difflib
from pathlib import Path

import pytest
import yaml

from read.errors import InputError
from read.studio.working import ParamsFile

ROOT = Path(__file__).parents[2]
BLOCKS = """
dataset: mine   # of me
task:
  - grounding   # moments
  - summarization
# the runs
runs:
    shots:
    - 32
    # how many?
    seeds: {seeds}
"""


def edited(folder: Path, text: str, wanted: dict) -> str:
    (folder / "params.yaml").write_text(text)
    params = ParamsFile(folder)
    params.write(params.changes(wanted))
    return (folder / "params.yaml").read_text()


@pytest.mark.parametrize("file", ["params.yaml", "presets/real.yaml"])
def test_only_the_changed_lines_differ_and_comments_keep_their_column(tmp_path, file):
    before = (ROOT / file).read_text()
    after = edited(tmp_path, before, {"dataset": "my-videos", "runs.shots": [3, 6, 12], "runs.seeds": [0, 1, 2]})
    changed = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]
    assert [line[0] for line in changed] == ["-", "+", "-", "+"]
    assert [line.index("#") for line in changed[::2]] == [line.index("#") for line in changed[1::2]]
    values = yaml.safe_load(before)
    values["dataset"], values["runs"]["shots"] = "my-videos", [3, 6, 12]
    assert yaml.safe_load(after) == values


def test_lists_in_block_style_are_replaced_whole_and_what_stands_around_them_stays(tmp_path):
    text = BLOCKS.replace("{seeds}", "[0]")
    wanted = {"task": ["grounding"], "runs.shots": [2, 4], "dataset": "a-name-longer-than-the-old"}
    after = edited(tmp_path, text, wanted)
    assert yaml.safe_load(after) == {
        "dataset": wanted["dataset"], "task": ["grounding"], "runs": {"shots": [2, 4], "seeds": [0]}
    }  # fmt: skip
    assert all(comment in after for comment in ("# of me", "# the runs", "# how many?"))


@pytest.mark.parametrize("name", ["null", "12", "1e3", "yes", "a: b", "#", "täg"])
def test_a_name_stays_a_text(tmp_path, name):
    assert yaml.safe_load(edited(tmp_path, "dataset: mine # x\n", {"dataset": name}))["dataset"] == name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dataset: [", "not valid YAML"),
        ("dataset: a\ndataset: b\n", "duplicate key"),
        ("- 1\n", "holds no keys"),
        ("task: [grounding]\n", "dataset: is missing"),
        ("x: &x {dataset: mine}\n<<: *x\n", "comes by an alias"),
    ],
)
def test_a_broken_file_is_told_and_left_as_it_is(tmp_path, text, told):
    with pytest.raises(InputError, match=told):
        edited(tmp_path, text, {"dataset": "other"})
    assert (tmp_path / "params.yaml").read_text() == text


def test_a_value_that_another_key_shares_is_not_changed_for_both(tmp_path):
    text = "runs: {shots: &k [3], seeds: *k}\n"
    with pytest.raises(InputError, match=r"write these by hand: runs.shots: \[4\]"):
        edited(tmp_path, text, {"runs.shots": [4]})
    assert (tmp_path / "params.yaml").read_text() == text


def test_without_a_file_the_checkout_is_asked_for(tmp_path):
    with pytest.raises(InputError, match="checkout of READ"):
        ParamsFile(tmp_path)
