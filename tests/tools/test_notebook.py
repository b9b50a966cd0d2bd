"""Notebooks are run without a notebook's program, and those of the project are kept as they were run."""

import json
from pathlib import Path

import pytest

from tools.notebook import run_cells

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


def code(*lines: str) -> dict:
    return {"cell_type": "code", "metadata": {}, "source": list(lines), "outputs": ["old"], "execution_count": 7}


def test_cells_share_their_names_and_keep_what_they_print_and_end_with():
    text = {"cell_type": "markdown", "metadata": {}, "source": ["# A"]}
    found = run_cells(
        {"nbformat": 4, "cells": [code("x = 2\n", "print('a')\n", "x + 1"), text, code("x"), code("x = 1")]}
    )
    assert found["nbformat"] == 4 and found["cells"][1] == text
    first, _, second, third = found["cells"]
    assert first["outputs"] == [
        {"output_type": "stream", "name": "stdout", "text": ["a\n"]},
        {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": ["3"]}},
    ]
    assert second["outputs"][0]["data"] == {"text/plain": ["2"]} and second["execution_count"] == 2
    assert third["outputs"] == []


def test_a_cell_that_raises_ends_the_run():
    with pytest.raises(ZeroDivisionError):
        run_cells({"cells": [code("1 / 0")]})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_projects_notebooks_are_kept_as_they_were_run(path):
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    assert any(cell["outputs"] for cell in cells)
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
