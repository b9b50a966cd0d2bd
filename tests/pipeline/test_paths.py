"""Where artifacts lie, as a job is told, and that no artifact names that place."""

import os
import subprocess
import sys

import pytest

ALL = """
import json
from pathlib import Path
from pipeline import paths
found = [paths.ENCODERS, paths.REPORT, paths.raw("mine"), paths.features("mine"), paths.backbone("grounding"),
         paths.split_file("mine", "grounding", 2, 0), paths.adapter("mine", "grounding", "read", 2, 0),
         paths.result("mine", "grounding", "read", 2, 0), paths.curves("mine", "grounding", "read", 2, 0)]
below = [str(path.relative_to(ROOT)) for path in found]
assert below == list(map(paths.name, found))
print(json.dumps([*below, paths.told(f"{ROOT / 'data/raw/mine/videos/a.mp4'}: no frame")]))
"""


@pytest.mark.parametrize("root", [".snakemake/storage/s3/bucket/a", "/elsewhere"])
def test_all_lies_below_the_root_that_is_told_and_no_name_has_it(root):
    def names(**told):
        code = f"from pathlib import Path\nROOT = Path({told.get('READ_ROOT', '')!r})\n{ALL}"
        return subprocess.check_output([sys.executable, "-c", code], env=os.environ | told, text=True)

    assert names() == names(READ_ROOT=root)
