"""The documentation's examples run, and its table is the registry's."""

import re
from pathlib import Path

import pytest

from read.adapters import get_strategy, strategy_names
from tests.forked import run_script

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples():
    """Every Python block, named by its page and line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start(1)) + 1
            yield pytest.param(page, line, block[1], id=f"{page.name}:{line}")


@pytest.mark.parametrize(("page", "line", "code"), examples())
def test_example(page, line, code, tmp_path):
    """As its reader runs it: alone, in a process of its own."""
    script = tmp_path / f"{page.stem}.py"
    script.write_text("\n" * (line - 1) + code, encoding="utf-8")  # so that a traceback names the page's line
    status, said = run_script(script)
    assert status == 0, said


def test_the_table_of_strategies_is_the_registry():
    rows = ["| name | what trains | size | source |", "|---|---|---|---|"]
    for strategy in map(get_strategy, strategy_names()):
        size = f"`{strategy.budget}`" if strategy.budget else ""
        rows.append(f"| `{strategy.name}` | {strategy.description} | {size} | {strategy.source} |")
    table = "\n".join(rows)
    assert table in (ROOT / "docs" / "library.md").read_text(encoding="utf-8"), f"docs/library.md should have\n{table}"
