"""Moments by a video-language model of transformers: labels as prompts and answers in seconds, and answers as windows.

    prompts = VideoPrompts(processor, "videos", fps=1)
    model(**prompts.taught(annotations)).loss                    # to train; the data collator of a Trainer as well
    written = prompts.written(model, [annotation.question for annotation in annotations])
    rows = [prediction(annotation.question, text) for annotation, text in zip(annotations, written)]
    read.metrics.grounding.evaluate(rows, annotations)

Times are plain seconds with one digit, "12.0 to 17.5", which every tokenizer has; the prompt says so, and how long the
video lasts. Symbols: B samples, T tokens.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from read.data.annotations import Annotation, Question
from read.encoders.base import Framing
from read.encoders.frames import read_views
from read.encoders.program import stated_seconds
from read.errors import InputError

IGNORED = -100  # the label of tokens that are not to be written
KEPT = 64  # decoded videos

_TIME = r"(\d+(?::\d{1,2}){1,2}(?:\.\d+)?|\d+(?:\.\d+)?)"  # 12.5, 0:12.5 or 1:02:12.5
_UNIT = r"\s*(?:s|secs?|seconds?)?\s*[\"']?"
_AND = r"\s*(?:to|until|till|through|and|-|–|—|~|,)\s*(?:[\"']?(?:end|stop)\w*[\"']?\s*[:=])?\s*[\"']?"
_WINDOW = re.compile(rf"(?<![\d:.]){_TIME}{_UNIT}{_AND}{_TIME}(?![\d:])", re.IGNORECASE)


def prompt(question: Question) -> str:
    """What is asked of the video, after its frames. Raises InputError where nobody has told how long it lasts."""
    if not math.isfinite(question.duration):
        raise InputError(f"qid {question.qid}: how long video {question.vid!r} lasts is not told; give its `duration`")
    return (
        f'The video lasts {question.duration:.1f} seconds. When does this happen: "{question.query}"? '
        'Answer in seconds, as in "12.0 to 17.5"; several moments are separated by commas.'
    )


def answer(windows: Iterable[Sequence[float]]) -> str:
    """Windows [start, end] in seconds, in their order in time, as a model is to write them."""
    return ", ".join(f"{start:.1f} to {end:.1f}" for start, end in sorted((start, end) for start, end, *_ in windows))


def windows(text: str, duration: float) -> list[tuple[float, float]]:
    """The windows (start, end) in seconds that a model's answer names, in its order, each once.

    Pairs of times are read in whatever way models write them: "12 to 17.5", "from 12s until 17.5s", "0:12 - 0:17.5",
    "[[12, 17.5], [30, 41]]", '{"start": 12, "end": 17.5}'. What ends before it starts is no window, and what begins
    after the video is none of its; an end after the video is the video's.
    """
    found = []
    for first, second in _WINDOW.findall(text):
        start, end = _seconds(first), min(_seconds(second), duration)
        if start < end:
            found.append((start, end))
    return list(dict.fromkeys(found))


def prediction(question: Question, text: str) -> dict[str, Any]:
    """A model's answer as a row for `read.metrics.grounding`: windows as listed, since an answer does not rank them."""
    listed = [[start, end, 1.0] for start, end in windows(text, question.duration)]
    asked = {"qid": question.qid, "query": question.query, "vid": question.vid}
    return asked | {"pred_relevant_windows": listed}


def _seconds(text: str) -> float:
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total


class VideoPrompts:
    """Batches of videos with questions and answers, by a processor of transformers with a chat template.

    Frames are decoded here, at a rate of their own, and the processor is told their times; so time stamps and positions
    are right whatever the file's rate is.

    Args:
        processor: of the model, such as `AutoProcessor.from_pretrained(...)`.
        folder: of the videos; that of a question is the file, of any extension, whose stem is `vid`.
        fps: frames a second.
        max_frames: of a video: a longer one is decoded at a lower rate. A video costs frames times size squared.
        size: pixels of a frame's side; all of the picture is squeezed into a square.
        **options: of the processor's call.

    Raises:
        InputError: a processor without a tokenizer or a chat template, a rate or a count that is not above 0.
    """

    def __init__(
        self,
        processor: Any,
        folder: str | Path,
        *,
        fps: float = 1.0,
        max_frames: int = 64,
        size: int = 224,
        **options: Any,
    ) -> None:
        if getattr(processor, "tokenizer", None) is None or not getattr(processor, "chat_template", None):
            raise InputError(
                f"processor: a {type(processor).__name__} has no tokenizer with a chat template; give the model's "
                "whole processor, as AutoProcessor.from_pretrained loads it"
            )
        for name, value in {"fps": fps, "max_frames": max_frames, "size": size}.items():
            if not value > 0:
                raise InputError(f"{name} is {value!r}, but must be above 0")
        self.processor, self.folder, self.options = processor, Path(folder), options
        self.fps, self.max_frames, self.size = fps, max_frames, size
        self.frames = lru_cache(KEPT)(self._decoded)

    def asked(self, questions: Sequence[Question]) -> dict[str, Tensor]:
        """What the model is given to answer: prompts padded on the left, as generation needs them.

        Raises:
            InputError: a video is missing, or cannot be decoded.
        """
        videos, rates = zip(*(self.frames(question.vid) for question in questions), strict=True)
        metadata = [
            {
                "fps": rate,
                "duration": len(video) / rate,
                "total_num_frames": len(video),
                "frames_indices": list(range(len(video))),
                "height": self.size,
                "width": self.size,
            }
            for video, rate in zip(videos, rates, strict=True)
        ]
        text = [self._written_out(question) for question in questions]
        given = {"videos": list(videos), "video_metadata": metadata, "do_sample_frames": False}
        made = self.processor(
            text=text, padding=True, padding_side="left", return_tensors="pt", **(given | self.options)
        )
        return dict(made)

    def taught(self, annotations: Sequence[Annotation]) -> dict[str, Tensor]:
        """`asked`, with the answers after it and `labels` (B, T) at these alone: the data collator of a Trainer.

        The prompt's tokens are those that generation sees, and the answer is padded on the right.
        """
        batch = self.asked([annotation.question for annotation in annotations])
        tokenizer = self.processor.tokenizer
        answers = [
            torch.tensor(tokenizer(self._ending(annotation), add_special_tokens=False)["input_ids"])
            for annotation in annotations
        ]
        ids = torch.nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=IGNORED)
        real = ids != IGNORED
        prompts = batch["input_ids"]
        pad = prompts[0, 0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        added = {"input_ids": ids.where(real, torch.as_tensor(pad)), "attention_mask": real.long()}
        for name in ("mm_token_type_ids", "token_type_ids"):
            if name in batch:
                added[name] = torch.zeros_like(ids)
        batch |= {name: torch.cat((batch[name], value.to(batch[name].dtype)), dim=1) for name, value in added.items()}
        return batch | {"labels": torch.cat((torch.full_like(prompts, IGNORED), ids), dim=1)}

    @torch.no_grad()
    def written(
        self, model: Any, questions: Sequence[Question], *, batch_size: int = 1, **generation: Any
    ) -> list[str]:
        """The model's answers, greedy by default. `generation` are options of `model.generate`, such as `num_beams`."""
        texts: list[str] = []
        like = next(model.parameters())
        generation = {"max_new_tokens": 64, "do_sample": False} | generation
        training = model.training
        model.eval()
        try:
            for start in range(0, len(questions), batch_size):
                batch = placed(self.asked(questions[start : start + batch_size]), like)
                made = model.generate(**batch, **generation)[:, batch["input_ids"].shape[1] :]
                texts += self.processor.batch_decode(made, skip_special_tokens=True)
        finally:
            model.train(training)
        return texts

    def _messages(self, question: Question) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": prompt(question)}]}]

    def _written_out(self, question: Question) -> str:
        return self.processor.apply_chat_template(self._messages(question), add_generation_prompt=True)

    def _ending(self, annotation: Annotation) -> str:
        """The answer as the chat template puts it after a prompt, up to the token that ends it."""
        text, end = answer(annotation.windows), self.processor.tokenizer.eos_token or ""
        said = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        whole = self.processor.apply_chat_template([*self._messages(annotation.question), said])
        before = self._written_out(annotation.question)
        tail = whole.removeprefix(before) if whole.startswith(before) else text  # a space may stand before it
        return tail[: tail.find(text) + len(text)] + end

    def _decoded(self, vid: str) -> tuple[np.ndarray, float]:
        """Frames (F, size, size, 3) of uint8, and their rate."""
        path = self._path(vid)
        rate, seconds = self.fps, stated_seconds(path)
        if seconds and seconds * rate > self.max_frames:
            rate = self.max_frames / seconds
        clips = read_views(path, rate, 1 / rate, [Framing(self.size, squash=True)])
        frames = np.concatenate([views[0] for views, _ in clips])
        return frames[: self.max_frames], rate

    def _path(self, vid: str) -> Path:
        found = sorted(path for path in self.folder.glob("*") if path.is_file() and path.stem == vid)
        if len(found) != 1:
            named = f": {', '.join(path.name for path in found)}" if found else ""
            raise InputError(f"{self.folder}: {len(found)} files have the stem {vid!r}, but must be one{named}")
        return found[0]


def placed(batch: Mapping[str, Any], like: Tensor) -> dict[str, Any]:
    """A batch on the device of `like`, with its pixels in the precision of it."""
    return {
        name: value.to(like.device, like.dtype if name.startswith("pixel_values") else value.dtype)
        if isinstance(value, Tensor)
        else value
        for name, value in batch.items()
    }
