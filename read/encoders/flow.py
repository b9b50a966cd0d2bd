"""Clips of many videos from several decoders to several encoders, through one bounded queue.

No video waits for another: a batch is full, whichever videos its clips are of. All batches of a lane have one shape,
the last being filled up, since libraries choose their arithmetic by shape; of one shape, a clip's features are the
same to the last bit whatever stands beside it, however many decode and encode, and whoever comes first.
"""

import os
import subprocess
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import torch

from read.encoders.program import on_start
from read.errors import InputError

CPU_CLIPS, CPU_BYTES = 16, 2**23
Put = Callable[[Hashable, np.ndarray], None]  # hands a clip on to a lane; it may wait for room


class Lane(NamedTuple):
    """What becomes of one kind of clip, all of one shape.

    Attributes:
        batch: so many go through `encode` at once, never fewer.
        size: bytes of one.
        encode: (batch, ...) -> encoder -> (batch, d). Threads call it at the same time.
    """

    batch: int
    size: int
    encode: Callable[[np.ndarray], Mapping[str, np.ndarray]]


class Extracted(NamedTuple):
    """What became of a video: encoder -> (N, d), and what `decode` returned, or the InputError that it raised."""

    arrays: dict[str, np.ndarray]
    about: Any


@dataclass(eq=False)
class _Video:
    number: int
    video: Any
    about: Any = None
    decoded: bool = False
    put: Counter[Hashable] = field(default_factory=Counter)  # clips by lane
    left: int = 0  # clips that are not encoded yet
    rows: dict[str, dict[int, np.ndarray]] = field(default_factory=lambda: defaultdict(dict))


_Place = tuple[_Video, int]  # a clip's: its number among its video's clips of one kind


class _EndedError(Exception):
    """Nobody waits for the clips any more."""


class Flow:
    """One passage of some videos.

    Args:
        videos: whatever `decode` takes.
        decode: called with a video and `Put`; its errors of input are the video's, all others end the flow.
        lanes: kind of clip -> what becomes of it.
        decoders: threads that decode.
        encoders: threads that encode, each computing alone.

    Attributes:
        encoded: kind of clip -> how many have been encoded.
    """

    def __init__(
        self,
        videos: Sequence[Any],
        decode: Callable[[Any, Put], Any],
        lanes: Mapping[Hashable, Lane],
        decoders: int,
        encoders: int,
    ) -> None:
        self.encoded: Counter[Hashable] = Counter()
        self._count, self._decode, self._lanes = len(videos), decode, lanes
        self._todo = deque(_Video(number, video) for number, video in enumerate(videos))
        self._queues: dict[Hashable, deque[tuple[_Place, np.ndarray]]] = {kind: deque() for kind in lanes}
        self._room = {kind: _room(lane, encoders) for kind, lane in lanes.items()}
        self._done: list[_Video] = []
        self._ended, self._fresh, self._error = False, False, None  # fresh: there are news for the caller
        self._lock = threading.Lock()
        self._has_room, self._has_work, self._has_news = (threading.Condition(self._lock) for _ in range(3))
        self._decoders = [_thread(copy_context().run, self._decoding) for _ in range(decoders)]
        self._encoders = [_thread(self._encoding) for _ in range(encoders)]
        self._left = decoders  # of those that are at work
        self._programs: dict[int, subprocess.Popen[bytes]] = {}

    def run(self, progress: Callable[[], None] = lambda: None) -> Iterator[tuple[int, Extracted]]:
        """Videos by their number, as they are finished. `progress` is called after a batch, by the caller's thread.

        An exception there, or in the loop over the videos, ends all threads and programs.
        """
        threads = [*self._encoders, *self._decoders]
        try:
            with _computing_alone(len(self._encoders)) as self._began:
                for thread in self._encoders:
                    thread.start()
            for thread in self._decoders:
                thread.start()
            while self._count:
                done = self._news()
                progress()
                for video in done:
                    self._count -= 1
                    yield video.number, _found(video)
        finally:
            with self._lock:
                self._ended = True
                programs = list(self._programs.values())
                for condition in (self._has_room, self._has_work):
                    condition.notify_all()
            for program in programs:
                program.kill()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _news(self) -> list[_Video]:
        """What was finished since the last look, after a batch at the latest."""
        with self._lock:
            self._has_news.wait_for(lambda: self._fresh or self._error)
            if self._error:
                raise self._error
            self._fresh, done, self._done = False, self._done, []
            return done

    def _decoding(self) -> None:
        outer = on_start.get()
        on_start.set(lambda program: (self._adopt(program), outer(program))[0])
        try:
            while self._todo and not self._ended:
                try:
                    video = self._todo.popleft()
                except IndexError:  # another took it
                    break
                try:
                    about = self._decode(video.video, partial(self._put, video))
                except InputError as error:
                    about = error
                with self._lock:
                    video.about, video.decoded = about, True
                    self._finish(video)
        except _EndedError:
            pass
        except BaseException as error:
            self._fail(error)
        finally:
            with self._lock:
                self._left -= 1
                self._has_work.notify_all()

    def _adopt(self, program: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._programs[threading.get_ident()] = program
            ended = self._ended
        if ended:
            program.kill()

    def _put(self, video: _Video, kind: Hashable, clip: np.ndarray) -> None:
        with self._lock:
            queue = self._queues[kind]
            self._has_room.wait_for(lambda: len(queue) < self._room[kind] or self._ended)
            if self._ended:
                raise _EndedError
            queue.append(((video, video.put[kind]), clip))
            video.put[kind] += 1
            video.left += 1
            if len(queue) >= self._lanes[kind].batch:
                self._has_work.notify()

    def _encoding(self) -> None:
        try:
            torch.get_num_threads()  # a thread keeps the number that it first sees
            self._began.wait()
            while (taken := self._take()) is not None:
                kind, places, clips = taken
                clips += repeat(clips[-1], self._lanes[kind].batch - len(clips))
                clips = np.stack(clips)
                self._note(kind, places, self._lanes[kind].encode(clips))
        except BaseException as error:
            self._fail(error)

    def _take(self) -> tuple[Hashable, list[_Place], list[np.ndarray]] | None:
        """A full batch; when all is decoded, what is left; None at the end."""
        with self._lock:
            while not self._ended:
                kind = max(self._lanes, key=lambda kind: len(self._queues[kind]) / self._lanes[kind].batch)
                queue, batch = self._queues[kind], self._lanes[kind].batch
                if len(queue) >= batch or (queue and not self._left):
                    taken = [queue.popleft() for _ in range(min(batch, len(queue)))]
                    self._has_room.notify_all()
                    return kind, [place for place, _ in taken], [clip for _, clip in taken]
                if not self._left:
                    break
                self._has_work.wait()
            return None

    def _note(self, kind: Hashable, places: list[_Place], found: Mapping[str, np.ndarray]) -> None:
        with self._lock:
            self.encoded[kind] += len(places)
            for row, (video, number) in enumerate(places):
                for name, rows in found.items():
                    video.rows[name][number] = rows[row]
                video.left -= 1
                self._finish(video)
            self._fresh = True
            self._has_news.notify()

    def _finish(self, video: _Video) -> None:
        if video.decoded and not video.left:
            self._done.append(video)
            self._fresh = True
            self._has_news.notify()

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error
            self._has_news.notify()


def clips_at_once(size: int) -> int:
    """A CPU's batch of clips of so many bytes. More gain nothing there; they decide, in the last bit, what is found."""
    return max(1, min(CPU_CLIPS, CPU_BYTES // size))


def most_bytes(lanes: Mapping[Hashable, Lane], decoders: int, encoders: int) -> int:
    """Of clips in memory: those that wait, those of each encoder's batch, each decoder's last as read and as cut."""
    return sum(lane.size * (_room(lane, encoders) + encoders * lane.batch + 2 * decoders) for lane in lanes.values())


def cores() -> int:
    """Of this process: as many as OMP_NUM_THREADS says, which engines set for jobs, but no more than it may run on."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(own, int(told)) if told.isdigit() and int(told) else own


def _room(lane: Lane, encoders: int) -> int:
    """Clips of a lane that may wait: a batch for each encoder, and one that is being filled."""
    return (encoders + 1) * lane.batch


def _thread(work: Callable[..., None], *arguments: Any) -> threading.Thread:
    return threading.Thread(target=work, args=arguments, daemon=True)


def _found(video: _Video) -> Extracted:
    arrays = {} if isinstance(video.about, InputError) else video.rows
    return Extracted(
        {name: np.stack([rows[n] for n in range(len(rows))]) for name, rows in arrays.items()}, video.about
    )


@contextmanager
def _computing_alone(count: int) -> Iterator[threading.Barrier]:
    """Threads that begin within the block, and wait at the barrier, compute without helpers; those of others stay.

    Several batches at once keep as many cores busy as one batch on all of them, and wait for nobody.
    """
    before, barrier = torch.get_num_threads(), threading.Barrier(count + 1)
    torch.set_num_threads(1)
    try:
        yield barrier
        barrier.wait()
    except BaseException:
        barrier.abort()  # nobody waits there for one that did not begin
        raise
    finally:
        torch.set_num_threads(before)
