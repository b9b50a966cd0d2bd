import subprocess
import sys

import pytest

import read.data
from pipeline.modules import Sources


@pytest.mark.parametrize("name", read.__all__)
def test_every_name_of_the_front_door_is_there(name):
    assert callable(getattr(read, name))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = read.nothing


def test_reading_labels_and_results_imports_no_heavy_package():
    code = "import sys, read, pipeline.stages.report, read.data.splits"
    code += "; print(*(m for m in ('torch', 'transformers', 'torchvision') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


@pytest.mark.parametrize("name", read.data.__all__)
def test_names_of_data_are_taken_from_their_homes_alone(name):
    """By the programs, and by those who ask what code they depend on."""
    home = f"read.data.{read.data._HOME_OF[name]}"
    assert getattr(read.data, name).__module__ == home
    taken = Sources().module("read.data")
    assert taken.passes_on and (home, name) in taken.imports
