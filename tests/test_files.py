"""Files are written whole or not at all, with the permissions of any new file, and read with limits."""

import json
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from read.errors import InputError
from read.files import atomic_path, decode_json, read_json, read_jsonl, write_json, write_text


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o027, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_written_can_be_read_by_whom_the_umask_lets(tmp_path, umask):
    """safetensors makes files of mode 600 by itself."""
    weights, folder = tmp_path / "a.safetensors", tmp_path / "model"
    with atomic_path(weights) as draft:
        save_file({"a": np.ones(2)}, draft)
    with atomic_path(folder) as draft:
        (draft / "inner").mkdir(parents=True)
        save_file({"a": np.ones(2)}, draft / "inner" / "b.safetensors")
        (draft / "run.sh").touch()
        (draft / "run.sh").chmod(0o700)
    write_json(tmp_path / "c.json", 1)
    for file in (weights, folder / "inner" / "b.safetensors", tmp_path / "c.json"):
        assert mode(file) == 0o666 & ~umask
    assert mode(folder) == mode(folder / "inner") == 0o777 & ~umask
    assert mode(folder / "run.sh") & 0o700 == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "c.json", "model"]


def test_a_device_is_written_into_and_not_replaced(tmp_path):
    write_text("/dev/null", "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    pipe, heard = tmp_path / "pipe", []
    os.mkfifo(pipe)
    listener = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    listener.start()
    write_text(pipe, "hello")
    listener.join(90)
    assert heard == ["hello"] and stat.S_ISFIFO(pipe.stat().st_mode)
    (tmp_path / "link").symlink_to(pipe)
    with pytest.raises(InputError, match="link: is a device or a pipe"), atomic_path(tmp_path / "link") as draft:
        draft.mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_of_a_link_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target.txt", tmp_path / "link.txt"
    link.symlink_to("there/target.txt")
    for text in ("made", "replaced"):
        write_text(link, text)
        assert link.is_symlink() and target.read_text() == text
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="leads back to itself"):
        write_text(tmp_path / "loop", "x")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["target.txt"]


@pytest.mark.parametrize("name", ["x" * 250, "é" * 127, "日" * 85])
def test_a_name_may_be_as_long_as_the_system_lets_it(tmp_path, name):
    write_text(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 5000, "thousands of digits"),
        ('{"vid": "a", "vid": "b"}', "key 'vid' stands twice"),
        ("{", "not JSON"),
    ],
)
def test_json_that_is_refused(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason):
        decode_json(text)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=rf"a\.json: .*{reason}"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.jsonl").write_text(f"{{}}\n\n{text}\n")
    with pytest.raises(InputError, match=rf"a\.jsonl:3: .*{reason}"):
        read_jsonl(tmp_path / "a.jsonl")


def test_a_byte_order_mark_says_nothing(tmp_path):
    rows = [{"a": "ü"}, {"a": 1}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\r\n" for row in rows), encoding="utf-8-sig")
    assert read_jsonl(tmp_path / "a.jsonl") == rows
    (tmp_path / "b.json").write_bytes(b"{\n\xe9}")
    with pytest.raises(InputError, match=r"b\.json:2: not a text in UTF-8"):
        read_json(tmp_path / "b.json")
