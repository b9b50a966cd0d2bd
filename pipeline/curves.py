"""Learning curves as files."""

import csv
import io
import shutil
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from read.files import atomic_path, write_text

COSINES = ("own_cosine", "other_cosine")  # of strategies that align, see `read.alignment.cosines`


def write_curve(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write a history as CSV: `step`, `loss` (empty before the first step), `val_score`, and `COSINES` where told."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    told = [name for name in COSINES if any(name in row for row in rows)]
    writer.writerow(["step", "loss", "val_score", *told])
    writer.writerows(
        [row["step"], row.get("loss", ""), row["score"], *(row.get(name, "") for name in told)] for row in rows
    )
    write_text(path, text.getvalue())


def log_live(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Log rows that have a loss through DVCLive; `folder` then holds val_score.tsv and loss.tsv for `dvc plots`."""
    from dvclive import Live

    with TemporaryDirectory() as room, atomic_path(folder) as draft:
        # From there DVCLive sees no repository, and does not ask for its last commit, which there may not be.
        with chdir(room), Live(room, save_dvc_exp=False, dvcyaml=None, report=None) as live:
            for row in rows:
                live.step = row["step"]
                live.log_metric("val_score", row["score"])
                live.log_metric("loss", row["loss"])
        shutil.copytree(Path(room, "plots", "metrics"), draft)
