"""Learning curves as files, wherever they are written."""

import subprocess
from pathlib import Path

from pipeline.curves import log_live

ROWS = [{"step": 1, "score": 10.0, "loss": 2.0}, {"step": 2, "score": 20.0, "loss": 1.0}]


def test_curves_for_dvc_need_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        subprocess.run(command, check=True)
    log_live(Path("curves"), ROWS)
    assert Path("curves/loss.tsv").read_text().split() == ["step", "loss", "1", "2.0", "2", "1.0"]
    assert {path.name for path in Path("curves").iterdir()} == {"loss.tsv", "val_score.tsv"}
