"""Run a notebook's cells in one process, in their order, and keep what they print: `python tools/notebook.py FILE`.

Each cell's standard output and the value of its last line are kept as its outputs, as a notebook's program would show
them. The cells run in the working directory. A cell that raises ends the program with its traceback, and writes
nothing.
"""

import argparse
import ast
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from read.files import write_text

SAME = {"cell_type", "id", "metadata", "source"}


def run_cells(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with the outputs of its cells as they came out."""
    space: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    for cell in notebook["cells"]:
        kept = {key: value for key, value in cell.items() if key in SAME}
        if cell["cell_type"] == "code":
            count += 1
            kept |= {"execution_count": count, "outputs": outputs_of("".join(cell["source"]), space, count)}
        cells.append(kept)
    return notebook | {"cells": cells}


def outputs_of(source: str, space: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What a cell prints, and the value of its last line where that is an expression."""
    tree, name, printed = ast.parse(source), f"<cell {count}>", io.StringIO()
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(printed):
        exec(compile(tree, name, "exec"), space)
        value = eval(compile(last, name, "eval"), space) if last else None
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": lines_of(printed.getvalue())})
    if value is not None:
        data = {"text/plain": lines_of(repr(value))}
        found.append({"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data})
    return found


def lines_of(text: str) -> list[str]:
    """A text as notebooks keep it."""
    return text.splitlines(keepends=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the notebook")
    parser.add_argument("--out", type=Path, help="where to write it with its outputs; by default in its place")
    arguments = parser.parse_args()
    found = run_cells(json.loads(arguments.file.read_text(encoding="utf-8")))
    write_text(arguments.out or arguments.file, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
