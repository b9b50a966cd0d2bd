"""What a public forge and pre-commit run is what `make` runs."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def load(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_workflow_calls_the_targets_of_make():
    (job,) = load(".github/workflows/checks.yml")["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make lint", "make test"]
    assert all(re.search(rf"^{command.split()[1]}:", MAKEFILE, re.MULTILINE) for command in commands)
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert all(re.search(rf"^{command}\b", script, re.MULTILINE) for command in commands)


def test_each_commit_is_looked_at_by_the_linters_of_make():
    (local,) = load(".pre-commit-config.yaml")["repos"]
    lint = MAKEFILE.split("\nlint:")[1].split("\n\n")[0]
    tools = re.findall(r"^\t(\w+(?: format --check| --check| check)?)", lint, re.MULTILINE)
    assert local["repo"] == "local" and [hook["entry"].removeprefix(".venv/bin/") for hook in local["hooks"]] == [
        tools[0], tools[1], tools[3], tools[2],
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_issue_templates_are_forms(name):
    form = load(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form.keys() >= {"name", "description", "body"}
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids) and all(field["attributes"]["label"] for field in form["body"])


def test_the_version_is_said_once_for_all():
    import read

    assert load("CITATION.cff")["version"] == read.__version__
    assert "version" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"]


def test_everything_pinned_has_a_version_and_no_address():
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line
