"""What the studio knows of its videos by a model: their features, answers, candidates for moments, copies, an order.

The model is the bundle of the last training, else an encoder that is at hand, else none. Videos are read one at a time
in the background; what somebody asks about comes first. What was read is kept in the cache, and can be deleted there.

Symbols: n parts of a video, d width of its features.
"""

import shutil
import threading
from collections.abc import Hashable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d

from read.app.answers import answer_told
from read.app.jobs import Job, Line
from read.errors import InputError
from read.grounding.windows import suppress
from read.predictor import EncodedVideo, Predictor
from read.studio.minds import COPIES, Mind, mark_of, mind_at_hand
from read.studio.order import PARTS, doubts_of, margin, order
from read.studio.twins import Strips, twins_of
from read.video_features import features_of

CANDIDATES = 3  # moments that are proposed for a sentence
SENTENCES = 24  # labelled ones, the last, of which it is asked whether the model is sure


class _Work(NamedTuple):
    """A video in the line, as it was then."""

    video: Any
    job: Job

    @property
    def key(self) -> str:
        """Of its file."""
        return self.video.key


class FootageReading:
    """See the module. Any thread may ask; nothing here waits for a model.

    Args:
        footage: a `read.studio.folder.Footage`.
        cache: folder for what can be made again.
        working: the checkout, whose params.yaml names encoders.
        device: where models run; "auto" is a GPU where there is one.

    Attributes:
        trouble: why a bundle or an encoder that is there cannot be used; empty where nothing is wrong.
    """

    def __init__(self, footage: Any, cache: Path, working: Path, device: str = "auto") -> None:
        self.footage, self.cache, self.working, self.device = footage, Path(cache), Path(working), device
        self.trouble = ""
        self._lock = threading.RLock()
        self._mind: Mind | None = None
        self._mark: Hashable = None  # of what `_mind` was, or is being, made of
        self._works: dict[str, _Work] = {}
        self._parts: dict[str, np.ndarray] = {}  # (n, d) of the videos that were read
        self._margins: dict[str, list[float]] = {}  # of the sentences `_asked`, by video
        self._asked: tuple[Mind | None, tuple[str, ...]] = (None, ())
        self._asking: Job | None = None
        self._strips = Strips()
        self._twins: dict[str, list[str]] = {}
        self._compared: tuple[Hashable, int] = (None, 0)  # what was, and how much
        self._before: Mind | None = None  # others may still ask its predictor
        for left in self.cache.glob(f"{COPIES}*"):  # by a studio that was killed
            shutil.rmtree(left, ignore_errors=True)
        self._line, self._aside = Line(), Line()  # of videos; of what must not wait for them

    @property
    def by(self) -> str | None:
        """What helps: "bundle", "encoder", or None."""
        return (mind := self._mind) and mind.by

    @property
    def adapters(self) -> list[str]:
        """Names by which `answer` may be asked, the usual one first."""
        return [*mind.adapters] if (mind := self._mind) else []

    @property
    def predictor(self) -> Predictor | None:
        """That of the bundle, where one helps."""
        return mind.predictor if (mind := self._mind) and mind.by == "bundle" else None

    def reload(self, bundle: Path | None) -> None:
        """Take over what has changed: the bundle of the last training, the encoder at hand, the folder's videos.

        To be called now and then; it is quick where there is nothing to do. Answers go on meanwhile.
        """
        with self._lock:
            if (mark := mark_of(bundle, self.working)) != self._mark:
                self._mark = mark
                self._aside.add(Job(lambda job: self._take(bundle, mark)))
            self._sync()
            self._compare()

    def want(self, vid: str) -> None:
        """Let a video that waits be the next."""
        if work := self._works.get(vid):
            self._line.first(work.job)

    def state(self, vid: str) -> str:
        """none, waiting, running, done or failed."""
        return work.job.state if (work := self._works.get(vid)) else "none"

    def answer(self, vid: str, query: str, adapter: str | None = None) -> dict[str, Any]:
        """What `read.app.answers.answer_told` tells, and `state` done; of a video that is not read, its state alone.

        With `error` where it could not be read.

        Raises:
            InputError: nothing helps yet, there is no such adapter, or as the predictor's answers.
        """
        with ExitStack() as held:
            with self._lock:
                mind, work = self._mind, self._works.get(vid)
                if mind:
                    held.enter_context(mind.in_use())
            return self._answer(mind, vid, work, query, adapter)

    def _answer(
        self, mind: Mind | None, vid: str, work: _Work | None, query: str, adapter: str | None
    ) -> dict[str, Any]:
        if mind is None:
            raise InputError(self.trouble or "There is no model to ask yet: train one first.")
        if work is None or work.job.state != "done":
            self.want(vid)
            return {"state": work.job.state if work else "none", "error": work.job.error if work else ""}
        path = work.video.path
        if (features := mind.get(work.key)) is None:  # somebody has cleared the cache
            self._again(vid, work)
            return {"state": self.state(vid), "error": ""}
        video = EncodedVideo(mind.predictor, path, features)
        return {"state": "done"} | answer_told(mind.predictor, video, path.name, query, adapter or mind.adapters[0])

    def moments(self, vid: str, query: str) -> dict[str, Any]:
        """Candidates for a sentence: at most three moments that do not overlap, best first.

        The bar of a bundle hides none: who types what happens in a video has seen it there.

        Returns:
            `state`, `by`, and `moments` of `start`, `end`, `score`. Of a video that is not read there are none, and it
            is the next; `error` says why one could not be read.
        """
        if (by := self.by) is None:
            return {"state": "none", "by": None, "moments": [], "error": self.trouble}
        found = self.answer(vid, query)
        if found["state"] != "done":
            return {"state": found["state"], "by": by, "moments": [], "error": found["error"]}
        rows = [(each["start"], each["end"], each["score"]) for each in found["moments"]]
        apart = suppress(np.array(rows).reshape(-1, 3), 0.0, CANDIDATES).tolist()
        moments = [dict(zip(("start", "end", "score"), row, strict=True)) for row in apart]
        return {"state": "done", "by": by, "moments": moments, "error": ""}

    def twins(self) -> dict[str, list[str]]:
        """Of each video that has copies, or is cut from the same recording as others, these others."""
        return self._twins

    def order(self, labels: Iterable[Any]) -> dict[str, Any]:
        """The unlabelled videos, those first from which most is to be learned: `by` and `order` of `vid` and `why`.

        What the model is unsure of is found out in the background, and counts as far as it is known.
        """
        labels = list(labels)
        labelled = {label.vid for label in labels}
        self._ask(tuple(dict.fromkeys(label.query for label in reversed(labels)))[:SENTENCES], labelled)
        vids = [*self._usable()]
        with self._lock:
            looks = {vid: self._parts[vid] for vid in vids if vid in self._parts}
            doubts = doubts_of({vid: self._margins[vid] for vid in looks if vid in self._margins})
        if not looks:  # no model has read any: by what the thumbnails look like
            looks = self._strips.known(self.footage.strips())
        found = order(vids, labelled, looks, doubts, self._twins)
        return {"by": self.by, "order": [{"vid": vid, "why": why} for vid, why in found]}

    def close(self) -> None:
        """Stop reading."""
        for line in (self._line, self._aside):
            line.close()
        for mind in (self._mind, self._before):
            if mind:
                mind.close()

    def _take(self, bundle: Path | None, mark: Hashable) -> None:
        """Make a model, and let it help from then on. What it cannot use of an earlier one's work is forgotten."""
        new, trouble = mind_at_hand(bundle, self.cache, self.working, self.device)
        with self._lock:
            if mark != self._mark:  # there is another one by now
                if new:
                    new.close()
                return
            old, self._mind, self.trouble = self._mind, new, trouble
            if not (old and new and old.spec == new.spec):
                for vid in list(self._works):
                    self._drop(vid)
            self._sync()
            before, self._before = self._before, old
        if before:
            before.close()

    def _ask(self, queries: tuple[str, ...], labelled: set[str]) -> None:
        """Find out how sure the model is of some sentences in the videos that it has read and nobody has labelled."""
        with self._lock:
            mind = self._mind
            if (mind, queries) != self._asked:
                self._asked, self._margins = (mind, queries), {}
                if self._asking:
                    self._aside.cancel(self._asking)
                    self._asking = None
            rest = [vid for vid in self._parts if vid not in labelled and vid not in self._margins]
            if mind and queries and rest and (self._asking is None or self._asking.state in ("done", "failed")):
                self._asking = self._aside.add(Job(partial(self._doubt, mind, queries, rest)))

    def _doubt(self, mind: Mind, queries: tuple[str, ...], vids: list[str], job: Job) -> None:
        for vid in vids:
            job.progress(0.0)  # it ends here where other sentences are asked by now
            if (work := self._works.get(vid)) and (features := mind.get(work.key)) is not None:
                video = EncodedVideo(mind.predictor, work.video.path, features)
                margins = [margin(answer.moments) for answer in video.answer(queries, mind.adapters[0])]
                with self._lock:
                    if self._asked == (mind, queries):
                        self._margins[vid] = margins

    def _usable(self) -> dict[str, Any]:
        return {vid: video for vid, video in dict(self.footage.videos).items() if video.state != "failed"}

    def _sync(self) -> None:
        """Put videos that came to the folder into the line, and take those out that went or changed."""
        videos = self._usable() if self._mind else {}
        for vid, work in list(self._works.items()):
            if vid not in videos or videos[vid].key != work.key:
                self._drop(vid)
        for vid, video in videos.items():
            if vid not in self._works:
                self._add(video)

    def _add(self, video: Any) -> None:
        self._works[video.vid] = _Work(video, self._line.add(Job(partial(self._read, self._mind, video))))

    def _drop(self, vid: str) -> None:
        self._line.cancel(self._works.pop(vid).job)
        for known in (self._parts, self._margins):
            known.pop(vid, None)

    def _again(self, vid: str, work: _Work) -> None:
        with self._lock:
            if self._works.get(vid) is work:
                self._drop(vid)
                self._add(work.video)
        self.want(vid)

    def _read(self, mind: Mind, video: Any, job: Job) -> None:
        """Read a video, or find what was read of it."""
        path = video.path
        try:
            before = path.stat()
            if (features := mind.get(video.key)) is None:
                features = features_of(mind.extractor, path, mind.encoders, job.progress)
                job.progress(features.seconds)
                after = path.stat()
                if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                    raise InputError(f"{path}: was changed while it was read")
                mind.put(video.key, features)
        except InputError as error:
            raise InputError(str(error).replace(str(path), path.name)) from None
        except OSError as error:
            raise InputError(f"{path.name}: cannot be read ({error.strerror})") from None
        parts = adaptive_avg_pool1d(features.clips.T, PARTS).T.numpy()
        with self._lock:
            if (work := self._works.get(video.vid)) and work.job is job:
                self._parts[video.vid] = parts

    def _compare(self) -> None:
        """Look for copies where there is something new to compare, and either no more is to come or twice as much."""
        videos = self._usable()
        read = {vid: work.key for vid, work in self._works.items() if work.job.state == "done"}
        strips = self.footage.strips()
        have, (seen, amount) = (frozenset(videos), frozenset(read.items()), frozenset(strips.items())), self._compared
        busy = self.footage.line.at_work or self._line.at_work
        count = len(read) + len(strips)
        if have != seen and (not busy or count >= 2 * amount):
            self._compared = have, count
            self._aside.add(Job(lambda job: self._find_twins(self._mind, [*videos], read, strips)))

    def _find_twins(self, mind: Mind | None, vids: list[str], read: dict[str, str], strips: dict[str, Path]) -> None:
        def clips(vid: str) -> Tensor:
            features = mind.get(read[vid]) if mind else None
            if features is None:
                raise InputError(f"{vid}: what was read of it is gone")
            return features.clips

        try:
            self._twins = twins_of(vids, read if mind else {}, clips, self._strips.of(strips))
        except InputError:  # somebody has cleared the cache: it is read anew, and compared then
            for vid, key in read.items():
                work = self._works.get(vid)
                if mind and mind is self._mind and work and work.key == key and mind.get(key) is None:
                    self._again(vid, work)
            self._compared = None, 0
            raise
