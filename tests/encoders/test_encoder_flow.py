"""Clips of many videos through one queue: each once, none waits for another's video, and nothing outlives the flow."""

import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch

from read.encoders import program
from read.encoders.base import Framing, Hears
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.flow import Flow, Lane, clips_at_once, cores, most_bytes
from read.encoders.frames import write_video
from read.encoders.program import ffmpeg_binary
from read.errors import InputError

LENGTHS = [5, 0, 17, 1, 4, 30, 3, 0, 2]  # clips of the videos


def clip(video, number):
    return np.array([video, number])


def decode(video, put):
    for number in range(LENGTHS[video]):
        put("a", clip(video, number))
        if number % 2:
            put("b", -clip(video, number))
    return LENGTHS[video]


def lanes(shapes, a=4, b=3):
    """Lanes that give their clips back, and note the batches."""

    def encode(name):
        return lambda clips: shapes.append((name, len(clips))) or {name: clips.astype(np.float32)}

    return {"a": Lane(a, 16, encode("a")), "b": Lane(b, 16, encode("b"))}


def flow(decode=decode, shapes=None, decoders=3, encoders=2, **sizes):
    return Flow(range(9), decode, lanes([] if shapes is None else shapes, **sizes), decoders, encoders)


@pytest.mark.parametrize(("decoders", "encoders"), [(1, 1), (3, 2), (8, 5)])
def test_every_clip_has_its_row_and_all_batches_are_full(decoders, encoders):
    shapes, told = [], []
    work = flow(shapes=shapes, decoders=decoders, encoders=encoders)
    found = dict(work.run(lambda: told.append(Counter(work.encoded))))
    assert sorted(found) == list(range(len(LENGTHS)))
    for video, count in enumerate(LENGTHS):
        assert found[video].about == count
        wanted = {"a": [clip(video, number) for number in range(count)]}
        wanted["b"] = [-clip(video, number) for number in range(1, count, 2)]
        for name, rows in wanted.items():
            assert found[video].arrays.get(name, np.zeros((0, 2))).tolist() == [row.tolist() for row in rows]
    assert {*shapes} == {("a", 4), ("b", 3)}
    halves = sum(count // 2 for count in LENGTHS)
    assert Counter(name for name, _ in shapes) == {"a": -(-sum(LENGTHS) // 4), "b": -(-halves // 3)}
    assert told[-1] == {"a": sum(LENGTHS), "b": halves}


def test_no_video_waits_for_a_slow_one():
    others = threading.Event()

    def slow(video, put):
        put("a", clip(video, 0))
        if video == 0:
            assert others.wait(90)
        return "done"

    seen = []
    for video, _ in flow(slow, decoders=2, a=1).run():
        seen.append(video)
        if len(seen) == 8:
            others.set()
    assert seen[-1] == 0 and sorted(seen) == list(range(9))


def test_a_broken_video_is_told_and_the_others_go_on():
    def broken(video, put):
        found = decode(video, put)
        if video == 2:
            raise InputError("2: no more")
        return found

    found = dict(flow(broken).run())
    assert str(found[2].about) == "2: no more" and found[2].arrays == {}
    assert [found.pop(video).about for video in (0, 1, 3, 4, 5, 6, 7, 8)] == [5, 0, 1, 4, 30, 3, 0, 2]


@pytest.mark.parametrize("where", ["decode", "encode", "caller", "progress"])
def test_any_other_error_ends_the_flow_and_its_threads(where):
    def fail(*_):
        raise RuntimeError(where)

    before, shapes = {*threading.enumerate()}, []
    work = flow(fail if where == "decode" else decode, shapes=shapes)
    if where == "encode":
        work._lanes["a"] = Lane(4, 16, fail)
    with pytest.raises(RuntimeError, match=where):
        for _ in work.run(fail if where == "progress" else lambda: None):
            if where == "caller":
                fail()
    assert {*threading.enumerate()} <= before


def test_what_waits_is_bounded():
    """Encoders that stand still stop the decoders, at what `most_bytes` says."""
    go, given = threading.Event(), []

    def endless(video, put):
        for number in range(1000):
            put("a", clip(video, number))
            given.append(number)
        return 1000

    kinds = {"a": Lane(4, 16, lambda clips: go.wait() and {"a": clips})}
    work = Flow(range(3), endless, kinds, 3, 2)
    thread = threading.Thread(target=lambda: list(work.run()))
    thread.start()
    most, end = 3 * 4 + 2 * 4, time.monotonic() + 90  # as the queue holds, and a batch in the hands of each encoder
    while len(given) < most:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.1)
    assert len(given) == most
    assert most_bytes(kinds, 3, 2) == 16 * (20 + 2 * 3)
    go.set()
    thread.join()
    assert len(given) == 3000


def test_encoders_compute_alone_and_the_caller_as_before():
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        kinds = {"a": Lane(1, 16, lambda clips: seen.append(torch.get_num_threads()) or {"a": clips})}
        list(Flow([5], lambda video, put: put("a", clip(video, 0)) or 1, kinds, 1, 2).run())
        assert (seen, torch.get_num_threads()) == ([1], 3)
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert seen == [1, 3]
    finally:
        torch.set_num_threads(before)


def test_the_cores_of_a_job_are_those_that_it_was_given(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    for told, wanted in (("4", 4), ("64", 6), ("0", 6), ("", 6), ("2,1", 6)):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert cores() == wanted


def test_a_cpu_takes_fewer_clips_where_they_are_large():
    assert [clips_at_once(3 * 16 * side**2) for side in (64, 112, 224, 1024)] == [16, 13, 3, 1]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Of 1, 13, 4 and 18 clips."""
    folder, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    paths = [folder / f"{frames}.mp4" for frames in (9, 200, 57, 288)]
    for path in paths:
        write_video(path, rng.integers(0, 255, (int(path.stem), 64, 64, 3), dtype=np.uint8), 8)
    return paths


@pytest.mark.video
def test_features_are_the_same_to_the_bit_whatever_decodes_and_in_whatever_company(weights, videos, monkeypatch):
    """SlowFast's convolutions are others for 13 clips than for 18."""
    extractor = Extractor(ExtractorSettings(), weights, names=["slowfast"])
    alone = [extractor.video(path) for path in videos]
    assert [len(found.arrays["slowfast"]) for found in alone] == [1, 13, 4, 18]
    for decoders, cpus, batch in ((1, 1, 8), (5, 3, 64)):
        monkeypatch.setattr("read.encoders.extractor.cores", lambda cpus=cpus: cpus)
        extractor.settings = ExtractorSettings(batch_size=batch, decoders=decoders)
        for number, found in extractor.videos(videos[::-1]):
            wanted = alone[::-1][number]
            assert found.seconds == wanted.seconds
            np.testing.assert_array_equal(found.arrays["slowfast"], wanted.arrays["slowfast"])


def test_a_gpu_sees_in_half_and_hears_in_full(weights, monkeypatch):
    """As the CPU's autocast shows it: what half precision has no number for is encoded in full."""
    monkeypatch.setattr(Extractor, "_gpu", True)
    clips = np.full((2, 16, 64, 64, 3), 99, np.uint8)

    def product(size):
        return lambda clips: (torch.full((2, 1), size) @ torch.full((1, 3), size)).float().numpy()

    encoders = {"third": product(1 / 3), "large": product(300.0)}
    for half in (True, False):
        extractor = Extractor(ExtractorSettings(half=half), weights, names=["slowfast"])
        wanted = extractor.encoders["slowfast"].video(clips)
        (lane,) = extractor._lanes.values()
        found = lane.encode(clips)["slowfast"]
        assert lane.batch == 32 and found.dtype == np.float32 and np.array_equal(found, wanted) != half
        np.testing.assert_allclose(found, wanted, atol=2e-2)
        seen, heard = (extractor._encode(encoders, kind, clips) for kind in (Framing(64), Hears(8000)))
        assert seen["large"].tolist() == heard["large"].tolist() == [[90000.0] * 3] * 2
        assert (abs(seen["third"] - 1 / 9).max() > 1e-6) == half and abs(heard["third"] - 1 / 9).max() < 1e-7


@pytest.mark.video
def test_a_decoder_that_hangs_is_ended_and_stops_nobody(weights, videos, tmp_path, monkeypatch):
    script = tmp_path / "ffmpeg"
    real = ffmpeg_binary()
    script.write_text(f'#!/bin/sh\ncase "$*" in *hang*) exec sleep 600;; esac\nexec {real} "$@"\n')
    script.chmod(0o755)
    (tmp_path / "hang.mp4").write_bytes(videos[0].read_bytes())
    monkeypatch.setenv("READ_FFMPEG", str(script))
    hanging, read, patience = set(), program.Running.read, program._patience

    def reading(self, *given):
        (hanging.add if "hang" in str(self._path) else hanging.discard)(threading.get_ident())
        return read(self, *given)

    monkeypatch.setattr(program.Running, "read", reading)  # patience with the others is as usual
    monkeypatch.setattr(
        program, "_patience", lambda given: 0.7 if threading.get_ident() in hanging else patience(given)
    )
    extractor = Extractor(ExtractorSettings(decoders=2), weights)
    found = dict(extractor.videos([tmp_path / "hang.mp4", *videos, tmp_path / "absent.mp4"]))
    assert str(found[0]).endswith("hang.mp4: ffmpeg did not get done with 2 s of video in 0.7 s and was ended")
    assert str(found[5]).endswith("absent.mp4: no such file")
    assert [len(found[number].arrays["clip"]) for number in (1, 2, 3, 4)] == [1, 13, 4, 18]


@pytest.mark.video
def test_no_program_outlives_who_stops_listening(weights, videos, monkeypatch):
    started, popen = [], program.subprocess.Popen

    def record(*args, **kwargs):
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(program.subprocess, "Popen", record)
    extractor, before = Extractor(ExtractorSettings(decoders=3), weights), {*threading.enumerate()}
    stream = extractor.videos(videos)
    next(stream)
    stream.close()
    assert started and all(process.poll() is not None for process in started)
    new = {*threading.enumerate()} - before
    for thread in new:
        thread.join(90)
    assert not any(thread.is_alive() for thread in new)


class Loud:
    """Tells of a clip of sound how loud it is."""

    reads, identity = ("sound",), {"name": "loud"}

    def __init__(self, rate):
        self.hears, self.seen = Hears(rate), []

    def sound(self, waves):
        self.seen.append(waves.shape)
        return np.abs(waves).mean(1, keepdims=True)


@pytest.mark.video
def test_sound_is_heard_on_the_way_and_silence_costs_one_clip(weights, videos, tmp_path):
    loud = tmp_path / "loud.mkv"
    tone = ["-itsoffset", "4", "-f", "lavfi", "-i", "sine=440:r=16000:d=9,volume=8"]
    words = ["-v", "error", "-i", str(videos[2]), *tone, "-c:v", "copy", "-c:a", "pcm_s16le", str(loud)]
    program.subprocess.run([ffmpeg_binary(), *words], check=True)
    extractor = Extractor(ExtractorSettings(), weights)
    ears = {"low": Loud(8000), "high": Loud(16000)}
    extractor.encoders |= ears
    extractor.hearing = [*ears]
    found = extractor.video(loud)
    assert list(found.arrays) == ["slowfast", "clip", "low", "high"] and found.told == "no sound from 0.0 to 4.0 s"
    for ear in ears.values():
        assert ear.seen == [(16, 2 * ear.hears.rate)]
        ear.seen.clear()
    assert found.arrays["high"][:2].tolist() == [[0], [0]] and (found.arrays["high"][2:] > 0.5).all()
    np.testing.assert_allclose(found.arrays["low"], found.arrays["high"], atol=0.02)
    found = extractor.video(videos[2])
    assert found.arrays["low"].tolist() == [[0]] * 4 and found.told == "has no sound track"
    assert ears["low"].seen == [(16, 16000)]
