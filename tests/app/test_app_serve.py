"""The page as the command line starts it: one process, ended by a signal."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import read.app
from read.app.server import run
from read.errors import InputError
from tests.app.fake import FakePredictor, Person

ROOT = Path(__file__).parents[2]
PROGRAM = """
from read.app.server import run
from tests.app.fake import FakePredictor
predictor = FakePredictor()
predictor.gate.clear()
run(predictor, "127.0.0.1", 0, 10**7, 60.0, False)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_it_and_nothing_stays(tmp_path, clip, name):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        address = line.split()[2]
        assert line.startswith("The page: http://127.0.0.1:")
        person = Person(address)
        key = person.upload(clip).json()["id"]
        person.wait(key, ["running"])  # in the middle of an encoding
        assert len(list(tmp_path.rglob("*.mp4"))) == 1
        process.send_signal(getattr(signal, name))
        process.wait(90)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError, match="cannot be listened on"):
        run(FakePredictor(), "127.0.0.1", taken.getsockname()[1], 1, 1.0, False)


def test_an_address_that_is_not_ours():
    with pytest.raises(InputError, match="cannot be listened on"):
        run(FakePredictor(), "no.such.host.invalid", 0, 1, 1.0, False)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(InputError, match=r"pip install 'read-adapters\[app\]'"):
        read.app.serve("bundle")


def test_importing_the_library_imports_no_web_server():
    code = "import sys, read, read.app; print(*(m for m in ('starlette', 'uvicorn', 'torch') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def test_a_bundle_that_is_none(tmp_path):
    start = time.monotonic()
    with pytest.raises(InputError, match="no such file"):
        read.app.serve(tmp_path, port=0)
    assert time.monotonic() - start < 60
