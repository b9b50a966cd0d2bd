"""What was acknowledged is there, whatever is killed and whenever the disk is full."""

import errno
import itertools
import json
import os
import resource
import signal
import stat
import threading
import traceback
from functools import partial
from pathlib import Path

import pytest

from read.errors import InputError
from read.files import read_jsonl
from read.studio.labels import Labels, Window

CALLS = ("open", "write", "fsync", "replace", "rename", "ftruncate", "truncate", "mkdir", "rmdir", "unlink", "chmod")
CARD = "title: t\nlicence: l\nannotations: annotations.jsonl\n"


def changes(labels):
    """A change of each kind, one after the other; each yields when it is acknowledged."""
    first = labels.add("walk", "a dog jumps", [Window(2, 4)], 30.0)
    yield
    labels.add("run", "a cat sits", [Window(2, 4, 3)], 30.0)
    yield
    first = labels.change(first.qid, first.rev, query="a dog sleeps")
    yield
    texts = labels.set_texts("walk", labels.texts("walk").rev, "hello", "")
    yield
    labels.set_texts("walk", texts.rev, "hello", "a greeting")  # writes two files, and the card
    yield
    labels.add("run", "what was asked", [Window(5, 6)], 30.0, asked=True)
    yield
    labels.remove(first.qid, first.rev)
    yield
    labels.restore(2)
    yield


def state(labels):
    return [dict(label.line) for label in labels.all()], [
        (texts.transcript, texts.summary) for texts in map(labels.texts, ("walk", "run"))
    ]


def begin(folder):
    folder.mkdir()
    (folder / "card.yaml").write_text(CARD)
    return folder


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """What is there before and after each change."""
    labels = Labels(begin(tmp_path_factory.mktemp("states") / "card"))
    found = [state(labels), *(state(labels) for _ in changes(labels))]
    labels.close()
    return found


class Killed(BaseException):
    """Stands for the end of the process: nothing that comes after it reaches the disk."""


def each_call(patch, act):
    """Have `act(name, real, arguments)` stand in for the calls that change a disk, which here does not have to sync."""
    for name in CALLS:
        real = (lambda *_: None) if name == "fsync" else getattr(os, name)
        patch.setattr(os, name, partial(_acted, act, name, real))


def _acted(act, name, real, *given, **more):
    return act(name, lambda: real(*given, **more), given)


def killed_at(folder, number):
    """Do all changes until the call of that number, or the middle of it; gives how many were acknowledged."""
    count, acknowledged, write, labels = 0, 0, os.write, None

    def act(name, real, given):
        nonlocal count
        count += 1
        if count == number and name == "write":
            write(given[0], bytes(given[1])[: len(given[1]) // 2])
        if count >= number:
            raise Killed
        return real()

    with pytest.MonkeyPatch.context() as patch:
        labels = Labels(folder)
        each_call(patch, act)
        try:
            for _ in changes(labels):
                acknowledged += 1
        except Killed:
            pass
    labels.close()
    return acknowledged


def test_a_kill_between_any_two_steps_leaves_the_state_before_or_after(tmp_path, states, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # which a kill does not need, and takes most of the time
    number, acknowledged = 0, -1
    while acknowledged < len(states) - 1:
        number += 1
        folder = begin(tmp_path / str(number))
        acknowledged = killed_at(folder, number)
        labels = Labels(folder)
        now = state(labels)
        assert now in states[acknowledged : acknowledged + 2], f"call {number}, after {acknowledged} changes"
        assert [path.name for path in folder.iterdir() if path.name.endswith(".part")] == []
        assert ("summaries:" in (folder / "card.yaml").read_text()) == bool(labels.texts("walk").summary)
        assert len(labels.history(100)) == states.index(now), "the history says what came to pass, and nothing else"
        labels.add("later", "it goes on", [Window(0, 1)], 9.0)
        labels.close()
    assert number > 60, "every call was one to be killed at"


def full_at(folder, number, forever):
    """Do all changes until a call fails for want of room; gives how many were acknowledged."""
    count, write = 0, os.write

    def act(name, real, given):
        nonlocal count
        needs_room = name == "write" or (name == "fsync" and not stat.S_ISDIR(os.fstat(given[0]).st_mode))
        count += needs_room
        if needs_room and (count == number or (forever and count > number)):
            if name == "write":
                write(given[0], bytes(given[1])[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real()

    labels = Labels(folder)
    with pytest.MonkeyPatch.context() as patch:
        each_call(patch, act)
        run = enumerate(changes(labels))
        while True:
            before = state(labels)
            try:
                if next(run, None) is None:
                    break
            except InputError as error:
                assert "the disk is full; nothing was changed" in str(error)
                assert state(labels) == before
                break
    acknowledged = len(labels.history(100))
    labels.close()
    return acknowledged


@pytest.mark.parametrize("forever", [False, True])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path, states, forever, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    number, acknowledged = 0, -1
    while acknowledged < len(states) - 1:
        number += 1
        folder = begin(tmp_path / str(number))
        acknowledged = full_at(folder, number, forever)
        labels = Labels(folder)
        assert state(labels) == states[acknowledged] and len(labels.history(100)) == acknowledged, f"call {number}"
        labels.close()
    assert number > 30, "every call was one to fail"


def in_child(work, stop=None):
    """How many changes a child process has acknowledged before it ended, and how it ended.

    Args:
        work: what it does; it gets a function to call for each acknowledged change.
        stop: after how many of them it is killed.
    """
    told, tell = os.pipe()
    if not (pid := os.fork()):
        status = 1
        try:
            os.close(told)
            work(lambda: os.write(tell, b"."))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        acknowledged = len(pipe.read(stop or -1))
        if stop:
            os.kill(pid, signal.SIGKILL)
            acknowledged += len(pipe.read())
    return acknowledged, os.waitpid(pid, 0)[1]


def add_many(folder, acknowledge, limit=None):
    labels = Labels(folder)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    for number in itertools.count():
        labels.add(f"v{number}", "a dog jumps", [Window(2, 4)], 30.0)
        acknowledge()


@pytest.mark.parametrize("stop", [3, 8])
def test_what_a_killed_process_acknowledged_is_there_and_its_lock_holds_nobody_up(tmp_path, stop):
    acknowledged, status = in_child(partial(add_many, tmp_path), stop)
    assert status == signal.SIGKILL and acknowledged >= stop
    labels = Labels(tmp_path)
    assert len(labels.all()) in (acknowledged, acknowledged + 1)
    assert (tmp_path / ".studio.lock").read_text() == str(os.getpid())
    labels.close()


def test_a_disk_that_is_really_full(tmp_path):
    def work(acknowledge):
        with pytest.raises(InputError, match="the disk is full; nothing was changed"):
            add_many(tmp_path, acknowledge, limit=4000)

    acknowledged, status = in_child(work)
    assert status == 0 and acknowledged > 3
    labels = Labels(tmp_path)
    assert len(labels.all()) == acknowledged == len(read_jsonl(labels.annotations))
    labels.close()


def test_files_and_names_are_on_the_disk_before_a_change_is_acknowledged(tmp_path, monkeypatch):
    """A power cut loses what was not synced: the content before its name, and the name before anybody hears of it."""
    labels, log = Labels(tmp_path), []
    labels.add("walk", "first", [Window(0, 1)], 9.0)
    sync, move = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (log.append(str(Path(f"/proc/self/fd/{fd}").readlink())), sync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda *names: (log.append("replace"), move(*names))[1])
    labels.add("walk", "second", [Window(0, 1)], 9.0)
    labels.close()
    steps = [step.rpartition("/")[2] if step != str(tmp_path) else "folder" for step in log]
    assert steps == ["history.jsonl", f".annotations.jsonl.{os.getpid()}.part", "replace", "folder"]


def test_threads_lose_nothing_of_each_other(tmp_path):
    labels = Labels(tmp_path)

    def work(name):
        for number in range(10):
            label = labels.add(f"{name}{number}", "a dog jumps", [Window(2, 4)], 30.0)
            labels.change(label.qid, label.rev, query="a cat jumps")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert labels.version == 80 and {label.query for label in labels.all()} == {"a cat jumps"}
    assert len({label.qid for label in labels.all()}) == 40 == len(read_jsonl(labels.annotations))
    labels.close()


@pytest.mark.parametrize("damage", [b"{\n", b"[1]\n", b'{"version": 9}\n', b"\xff\n"])
def test_a_broken_history_is_set_aside_and_labels_are_what_the_file_says(tmp_path, damage):
    labels = Labels(tmp_path)
    first = labels.add("walk", "first", [Window(0, 1)], 9.0)
    labels.close()
    history = tmp_path / "history.jsonl"
    history.write_bytes(history.read_bytes() + damage)
    labels = Labels(tmp_path)
    assert labels.all() == [first] and labels.history(9)[0].what == "as found"
    assert (tmp_path / "history.jsonl.broken-1").read_bytes().endswith(damage)
    labels.close()


def test_a_torn_end_of_a_history_is_cut_off(tmp_path):
    labels = Labels(tmp_path)
    labels.add("walk", "first", [Window(0, 1)], 9.0)
    labels.close()
    history = tmp_path / "history.jsonl"
    whole = history.read_bytes()
    history.write_bytes(whole + json.dumps({"version": 2, "what": "x" * 100_000}).encode())
    labels = Labels(tmp_path)
    assert labels.version == 1 and history.read_bytes() == whole
    labels.close()


def test_of_a_link_what_it_points_to_is_written_and_swept(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "card").mkdir()
    link = tmp_path / "card" / "annotations.jsonl"
    link.symlink_to("../there/mine.jsonl")
    (tmp_path / "there" / ".mine.jsonl.123.part").write_text("what a killed process left")
    labels = Labels(tmp_path / "card")
    labels.add("walk", "first", [Window(0, 1)], 9.0)
    labels.close()
    assert link.is_symlink() and [path.name for path in (tmp_path / "there").iterdir()] == ["mine.jsonl"]
