"""What a study says, what of it is registered, its cells, and its page."""

import os
import subprocess
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from benchmarks.tiny import ROOT
from pipeline.study import cells, registration
from pipeline.study.__main__ import tell
from pipeline.study.cells import cells_of, make_catalog, prepare
from pipeline.study.registration import register
from pipeline.study.running import take
from pipeline.study.schema import ABLATIONS, check_study, load_study, params_of
from read.errors import InputError
from read.files import read_json, write_text
from tests.pipeline.study_workspace import TINY, make_scores, study_of


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def constant(name, shots, backbone, seed):
    return 30.0 + len(name) + backbone + seed


def test_the_study_that_comes_with_the_project_is_valid():
    study = load_study()
    assert study.claims and study.tried
    assert not set(study.seeds) & set(range(15))  # on which forms were chosen, and confirmed once


CLAIM = TINY["claims"][0]
MISTAKEN = {"strategies": {"reed": {}, "read": {"mixr": "gru"}}}
GROUP = {"against": "moon", "strategies": {"lora": {}}}


@pytest.mark.parametrize(
    ("changes", "mistakes"),
    [
        ({"shots": [4, 4, 8]}, ["shots: holds a value twice"]),
        (MISTAKEN, ["strategies.reed: ", "strategies.read: ", "claims.0.than"]),
        ({"claims": [CLAIM | {"than": "read"}]}, ["claims.0: compares read with itself"]),
        ({"claims": [CLAIM | {"margin": -1}]}, ["claims.0.margin"]),
        ({"claims": [CLAIM | {"shots": [5], "settings": ["moon"]}]}, ["claims.0.shots: 5", "claims.0.settings: moon"]),
        ({"set": {"train.stepps": 3, "runs.seeds": [1]}}, ["train.stepps: unknown key", "set: runs.seeds"]),
        ({"ablation_seeds": [7]}, ["ablation_seeds: 7 is none of seeds"]),
        ({"ablation_shots": [16]}, ["ablation_shots: 16", "ablation_shots: has to hold 8"]),
        ({"ablations": {"cell": GROUP}}, ["ablations.cell.against: moon", "lora: stands under"]),
        ({"settings": {"montage": {"base": "study.yaml"}}}, ["settings.montage.base: study.yaml holds no params"]),
        ({"title": 3, "sheds": 1}, ["title: ", "sheds: unknown key; did you mean seeds?"]),
    ],
)
def test_all_mistakes_are_told_at_once(changes, mistakes):
    with pytest.raises(InputError) as caught:
        check_study(deepcopy(TINY) | changes)
    for mistake in mistakes:
        assert mistake in str(caught.value)


def test_a_cell_differs_from_its_base_by_what_the_study_says():
    study = study_of(set={"train.grounding.steps": 7}, settings={"montage": {"set": {"extract.fps": 4.0}}})
    base = yaml.safe_load(Path("params.yaml").read_text())
    found = params_of(study, "montage", 3, "runs")
    assert found["runs"] == {"shots": [4, 8], "seeds": [0, 1, 2]}
    assert found["train"]["grounding"] == base["train"]["grounding"] | {"steps": 7}
    assert found["extract"]["fps"] == 4.0
    assert (
        {found["encoders"][name]["seed"] for name in found["encoders"]}
        == {3}
        == {found["pretrain"]["grounding"]["seed"]}
    )
    assert found["task"] == ["grounding"]
    variants = params_of(study, "montage", 3, ABLATIONS)
    assert (list(variants["strategies"]), variants["runs"]["shots"]) == (["read_rnn"], [8])
    assert {key for key in found if found[key] != variants[key]} == {"strategies", "runs"}


def test_cells_are_of_the_checkout_s_code_and_share_what_they_can(tmp_path):
    study = study_of(backbone_seeds=[0, 1])
    found = cells_of(study, tmp_path / "study", ["montage"])
    assert [cell.name for cell in found] == ["montage/b0", "montage/b1", "montage/b0-ablations", "montage/b1-ablations"]
    make_catalog(study, tmp_path / "study", "montage")
    for cell in [*found, *found]:  # a second time changes nothing
        prepare(cell)
    one, other, variants, _ = (cell.folder for cell in found)
    assert (one / "pipeline/code.py").samefile("pipeline/code.py")
    assert (one / "data/catalog/montage/card.yaml").samefile("data/catalog/montage/card.yaml")
    assert (one / "data/raw").samefile(other / "data/raw")
    assert (variants / "models/backbone").resolve() == (one / "models/backbone").resolve()
    links = [path for path in (tmp_path / "study").rglob("*") if path.is_symlink()]
    assert links and not any(path.readlink().is_absolute() for path in links)
    assert yaml.safe_load((other / "params.yaml").read_text())["pretrain"]["grounding"]["seed"] == 1


def test_a_setting_whose_datasets_cannot_be_made_is_left_out(tmp_path, capsys):
    words = ["python", "-c", "import sys; sys.exit('no clips are here')"]
    made = ["python", "-c", "import sys, pathlib; pathlib.Path(sys.argv[1]).mkdir()"]
    study = study_of(
        settings={"montage": {}, "real": {"catalog": words}, "other": {"catalog": made}}, claims=TINY["claims"]
    )
    assert list(cells.usable_settings(study, tmp_path, ["montage", "real", "other"])) == ["montage", "other"]
    assert "real: left out, since its datasets cannot be made here: no clips are here" in capsys.readouterr().err
    with pytest.raises(InputError, match="moon is no setting of the study; there are montage, real, other"):
        list(cells.usable_settings(study, tmp_path, ["moon"]))


class TestRegistration:
    """Of a study without and with scores."""

    @pytest.fixture(autouse=True)
    def _digests(self, monkeypatch):
        self.code = "one"
        monkeypatch.setattr(
            registration, "code_digest", lambda stage, params, task, name="": f"{stage}{name}{self.code}"
        )

    def register(self, folder, study=None, **options):
        study = study or study_of(backbone_seeds=[0])
        found = cells_of(study, folder, list(study.settings))
        for cell in found:
            cell.folder.mkdir(parents=True, exist_ok=True)
        return register(study, found, folder, **options)

    def test_before_the_first_score_all_may_change(self, tmp_path):
        first = self.register(tmp_path)
        self.code = "two"
        second = self.register(tmp_path, study_of(backbone_seeds=[0], shots=[8]))
        assert first["hash"] != second["hash"] and first["code"] != second["code"]
        assert read_json(tmp_path / registration.FILE) == second
        assert second["tried"] == 9

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"shots": [8]}, r"shots: \[4, 8\] -> \[8\]"),
            ({"claims": [TINY["claims"][0] | {"margin": 0.1}]}, "claims: "),
            ({"set": {"train.grounding.steps": 9}}, "train.grounding.steps: nothing -> 9"),
        ],
    )
    def test_after_it_the_study_stays(self, tmp_path, changes, told):
        study = study_of(backbone_seeds=[0])
        self.register(tmp_path)
        make_scores(study, tmp_path, constant)
        self.register(tmp_path)
        with pytest.raises(InputError, match=rf"(?s)no longer the one.*{told}.*another study in a folder of its own"):
            self.register(tmp_path, study_of(backbone_seeds=[0], **changes))

    def test_words_that_are_only_shown_may_change(self, tmp_path):
        before = self.register(tmp_path, handed_out=True)
        words = {"title": "Another", "claims": [TINY["claims"][0] | {"claim": "In other words"}]}
        assert self.register(tmp_path, study_of(backbone_seeds=[0], **words))["hash"] == before["hash"]

    def test_after_it_the_code_stays(self, tmp_path):
        self.register(tmp_path, handed_out=True)
        self.code = "two"
        with pytest.raises(InputError, match=r"the code of montage encoders, .* is no longer the one"):
            self.register(tmp_path)

    def test_scores_without_a_registration_are_refused(self, tmp_path):
        make_scores(study_of(backbone_seeds=[0]), tmp_path, constant)
        with pytest.raises(InputError, match="is missing, but there are test scores"):
            self.register(tmp_path)

    def test_of_a_setting_that_is_run_later_the_code_is_added(self, tmp_path):
        study = study_of(backbone_seeds=[0], settings={"montage": {}, "other": {}})
        found = cells_of(study, tmp_path, ["montage", "other"])
        for cell in found:
            cell.folder.mkdir(parents=True)
        register(study, [cell for cell in found if cell.setting == "montage"], tmp_path, handed_out=True)
        known = register(study, [cell for cell in found if cell.setting == "other"], tmp_path)
        assert {name.split()[0] for name in known["code"]} == {"montage", "other"}


class Options:
    def __init__(self, folder, markdown=None):
        self.folder, self.markdown, self.settings = folder, markdown, None


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The folder of a study with a page, whose last run is missing."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(registration, "code_digest", lambda *_: "0")
        study = study_of(backbone_seeds=[0, 1])
        found = cells_of(study, folder, ["montage"])
        for cell in found:
            cell.folder.mkdir(parents=True)
        register(study, found, folder)
        make_scores(study, folder, lambda *key: None if key == ("lora", 8, 1, 2) else constant(*key))
        tell(study, Options(folder))
        tell(study, Options(folder, folder / "study.md"))
    return folder


def test_the_page_says_what_was_registered_and_what_came_out(told):
    page, data = (told / "index.html").read_text(), read_json(told / "study.json")
    known = read_json(told / registration.FILE)
    assert data["registered"] == {"date": known["date"], "hash": known["hash"], "tried": 9}
    for text in (known["hash"], "9 forms", "41 of 42 runs"):
        assert text in page
    assert data["first"].startswith("READ comes out first nowhere: on montage adapter is first")
    assert page.index("READ comes out first nowhere") < page.index("<h2>")
    assert [row["label"] for row in data["settings"][0]["frame"]] == ["random", "zero-shot", "oracle"]
    row = data["claims"][0]["verdicts"][0]
    assert (row["verdict"], row["mean"]) == ("refuted", pytest.approx(-3))

    class Parser(HTMLParser):
        def __init__(self):
            super().__init__()
            self.opened = []

        def handle_starttag(self, tag, attributes):
            if tag not in ("meta", "link", "circle", "rect", "path", "br"):
                self.opened.append(tag)

        def handle_endtag(self, tag):
            assert self.opened.pop() == tag

    parser = Parser()
    parser.feed(page)
    assert not parser.opened
    assert "http" not in page.partition('id="charts-data"')[0].replace("http-equiv", "")


def test_the_markdown_has_the_same_tables(told):
    text, data = (told / "study.md").read_text(), read_json(told / "study.json")
    assert data["first"] in text and data["registered"]["hash"] in text and "make study" in text
    assert "| READ beats the adapter (read - adapter) | montage | 4, 8 | -3.0 |" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.lstrip().startswith("|")]
    assert len(tables) >= 6
    assert all(len({line.count("|") for line in table if line}) == 1 for table in tables)


def test_what_came_back_is_newer_than_what_it_was_made_from(tmp_path):
    study = study_of(backbone_seeds=[0])
    there, here = (cells_of(study, tmp_path / name, ["montage"]) for name in ("there", "here"))
    score = "results/runs/montage/grounding/read/k4-s0/scores.json"
    for name in (score, "models/adapters/montage/read/run.json"):
        write_text(there[0].folder / name, "{}")
    os.utime(there[0].folder / score, (1, 1))
    write_text(tmp_path / "there/machines/a.json", "{}")
    write_text(here[0].folder / "data/features.json", "{}")
    (tmp_path / "here/machines").mkdir()
    assert take(here, tmp_path / "there", tmp_path / "here") == 2
    times = [
        (here[0].folder / name).stat().st_mtime_ns
        for name in ("data/features.json", "models/adapters/montage/read/run.json", score)
    ]
    assert times == sorted(times)
    assert (tmp_path / "here/machines/a.json").is_file()
    with pytest.raises(InputError, match="holds nothing of a cell"):
        take(here, tmp_path, tmp_path / "here")


@pytest.mark.slow
def test_a_study_whose_runs_are_made_elsewhere(project):
    """Of a finished project, whose features and backbone serve as the cell's; the runs are made in a copy."""
    study = deepcopy(TINY) | {
        "backbone_seeds": [0],
        "shots": [2],
        "seeds": [0, 1],
        "ablations": {},
        "ablation_shots": [2],
        "ablation_seeds": [0],
    }
    study["strategies"] = {"read": {}}
    study["claims"] = [{"claim": "READ beats READ", "better": "read", "than": "again", "margin": 0.0}]
    study["strategies"]["again"] = {"method": "read"}
    (project.folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    cell = project.folder / "results/study/montage/b0"
    for name, place in {"data/raw": cell.parent / "raw", **{f: cell / f for f in ("data/features", "models")}}.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", project.folder / name, place], check=True)
    subprocess.run(["rm", "-rf", cell / "models/adapters"], check=True)
    project.run("python", "-m", "pipeline.study", "--until", "backbones")
    lines = {
        stage: project.run("python", "-m", "pipeline.study", "--commands", stage).splitlines()
        for stage in ("train", "evaluate")
    }
    assert [len(lines[stage]) for stage in lines] == [4, 4]  # of evaluate: two strategies, references and the map
    there = project.folder.parent / "there"
    subprocess.run(["cp", "-a", project.folder, there], check=True)
    elsewhere = type(project)(there)
    for line in [*lines["train"], *lines["evaluate"]]:
        elsewhere.run("bash", "-c", line)
    for path in (there / "results/study").rglob("*"):  # what is large need not come back
        if path.suffix in (".safetensors", ".jsonl") and "montage/grounding/" in path.as_posix():
            path.unlink()
    project.run("python", "-m", "pipeline.study", "--take", str(there / "results/study"))
    said = project.run("python", "-m", "pipeline.study", "--cores", "2")
    assert "train_run" not in said and "evaluate_runs" not in said
    found = project.json("results/study/study.json")
    assert found["runs"] == {"found": 4, "expected": 4}
    assert found["claims"][0]["verdicts"][0]["mean"] == 0
    assert project.planned_jobs() == {}  # the project's own run is as it was


def test_where_nothing_of_the_sentence_trains_nothing_is_aligned():
    joint = {"about": "Made up.", "set": {"backbone.grounding": "joint"}}
    study = study_of(settings={"montage": {}, "joint": joint}, strategies=TINY["strategies"] | {"read_pvla": {}})
    found = {name: list(params_of(study, name, 0, "runs")["strategies"]) for name in study.settings}
    assert found == {"montage": ["lora", "adapter", "read", "read_pvla"], "joint": ["lora", "adapter", "read"]}
