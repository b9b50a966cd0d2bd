"""The programs in examples/, run with small models on small videos that are made here."""

import json
import re
from pathlib import Path

import pytest

from tools.notebook import run_cells

DIGITS = re.compile(r"\d+")
EXAMPLES = Path(__file__).parents[1] / "examples"


def said(notebook):
    """What the cells printed, without digits, which may differ from machine to machine."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [[DIGITS.sub("", "".join(output["text"])) for output in cell["outputs"]] for cell in cells]


@pytest.mark.slow
def test_the_notebook_on_an_own_model_says_what_it_said(capsys):
    pytest.importorskip("peft")
    kept = json.loads((EXAMPLES / "own_model.ipynb").read_text(encoding="utf-8"))
    found = run_cells(kept)
    assert said(found) == said(kept)
    table = "".join("".join(output["text"]) for cell in found["cells"] for output in cell.get("outputs", ()))
    right = {
        name: float(share) for name, share in re.findall(r"^(\w+) +\d+ parameters +([\d.]+)%", table, re.MULTILINE)
    }
    assert right.keys() == {"proj", "lora", "adapter", "read"}
    assert right["read"] > 90 > 85 > max(share for name, share in right.items() if name != "read")
