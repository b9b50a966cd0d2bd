import subprocess
import sys

import pytest

import read


@pytest.mark.parametrize("name", read.__all__)
def test_every_name_of_the_front_door_is_there(name):
    assert callable(getattr(read, name))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = read.nothing


def test_importing_read_imports_no_heavy_package():
    code = "import sys, read; print(*(m for m in ('torch', 'transformers', 'torchvision') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
