"""Labels as prompts and answers in seconds, answers as windows, and batches of them."""

import numpy as np
import pytest
import torch

from read.data.annotations import parse
from read.encoders.frames import write_video
from read.errors import InputError
from read.metrics.grounding import evaluate
from read.video_language import VideoPrompts, answer, prediction, prompt, windows
from tests import video_models as vlm


def annotation(vid="pond", found=((2.0, 4.0),), query="a heron lands", duration=6.0, qid=1):
    row = {"qid": qid, "query": query, "vid": vid, "duration": duration, "relevant_windows": [list(w) for w in found]}
    return parse(row, 2.0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12.0 to 17.5", [(12, 17.5)]),
        ("12.0 to 17.5, 30.0 to 41.0", [(12, 17.5), (30, 41)]),
        ("From 12s until 17.5 seconds, and then 30-41 s.", [(12, 17.5), (30, 41)]),
        ("It happens between 12 and 17.5 seconds.", [(12, 17.5)]),
        ("00:12 - 00:17.5", [(12, 17.5)]),
        ("from 0:01:02 to 0:01:10", [(62, 70)]),
        ("[[12.0, 17.5], [30, 41]]", [(12, 17.5), (30, 41)]),
        ('{"start": 12.0, "end": 17.5}', [(12, 17.5)]),
        ('[{"start": "00:12", "end": "00:17"}, {"start": "00:30", "end": "00:41"}]', [(12, 17), (30, 41)]),
        ("1. 12.0 to 17.5\n2. 30.0 to 41.0", [(12, 17.5), (30, 41)]),
        ("12 s – 17.5 s", [(12, 17.5)]),
        ("12.0 to 17.5, 12.0 to 17.5", [(12, 17.5)]),
        ("70.0 to 900.0", [(70, 75)]),  # an end after the video is the video's
        ("80.0 to 90.0", []),
        ("17.5 to 12.0", []),
        ("12.0 to 12.0", []),
        ("It happens at 12.0.", []),
        ("It does not happen.", []),
        ("", []),
    ],
)
def test_windows_are_read_however_they_are_written(text, found):
    assert windows(text, 75.0) == found


def test_answers_come_back_as_the_windows_that_they_are_of():
    generator = np.random.default_rng(0)
    for _ in range(50):
        made = np.sort(generator.integers(0, 1500, (generator.integers(1, 5), 2)) / 10, axis=1)
        made = sorted({(start, end) for start, end in made.tolist() if start < end})
        assert windows(answer(reversed(made)), 150.0) == made


def test_a_right_answer_scores_a_hundred_and_one_without_windows_none():
    truth = [annotation(), annotation(found=((1.0, 2.0), (4.0, 5.5)), qid=2)]
    rows = [prediction(each.question, answer(each.windows)) for each in truth]
    assert evaluate(rows, truth)["brief"]["MR-full-mAP"] == 100
    rows[1] = prediction(truth[1].question, "never")
    assert evaluate(rows, truth)["brief"]["MR-full-mAP"] == 50


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """pond lasts 6 seconds, lake 20; both are 4 frames a second."""
    folder = tmp_path_factory.mktemp("videos")
    for name, seconds in (("pond", 6), ("lake", 20)):
        write_video(folder / f"{name}.mp4", vlm.clip(4 * seconds), 4)
    return folder


def prompts_of(kind, videos, **settings):
    pytest.importorskip("transformers")
    pytest.importorskip("torchvision")
    pytest.importorskip("num2words")
    return VideoPrompts(vlm.make_processor(kind), videos, size=vlm.SIDE, **settings)


@pytest.mark.video
@pytest.mark.parametrize("kind", ["smolvlm", "qwen3_vl"])
def test_what_is_taught_is_what_is_asked_and_the_answer(videos, kind):
    prompts = prompts_of(kind, videos)
    taught = [annotation(), annotation("lake", ((3.0, 9.0), (12.0, 13.5)), "rain", 20.0, 2)]
    asked, batch = prompts.asked([each.question for each in taught]), prompts.taught(taught)
    length = asked["input_ids"].shape[1]
    for name, value in asked.items():
        same = batch[name][:, :length] if name in ("input_ids", "attention_mask", "mm_token_type_ids") else batch[name]
        assert torch.equal(torch.as_tensor(same), torch.as_tensor(value)), name
    tokenizer = prompts.processor.tokenizer
    for row, each in enumerate(taught):
        written = batch["labels"][row] != -100
        assert not written[:length].any()
        assert batch["attention_mask"][row, length:].bool().equal(written[length:])
        text = tokenizer.decode(batch["input_ids"][row, written])
        assert text.strip() == answer(each.windows) + tokenizer.eos_token
        asked_text = tokenizer.decode(asked["input_ids"][row])
        assert prompt(each.question) in asked_text
        whole = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": prompt(each.question)}]},
                 {"role": "assistant", "content": [{"type": "text", "text": answer(each.windows)}]}]  # fmt: skip
        template = prompts.processor.apply_chat_template(whole)
        assert asked_text[-12:] + text.removesuffix(tokenizer.eos_token) in template


@pytest.mark.video
def test_the_processor_is_told_when_frames_are(videos):
    asked = prompts_of("qwen3_vl", videos).asked([annotation().question])
    text = vlm.tokenizer_of().decode(asked["input_ids"][0])
    assert [f"<{at} seconds>" in text for at in (0.5, 2.5, 4.5)] == [True] * 3  # means of the times of two frames
    slower = prompts_of("qwen3_vl", videos, max_frames=4).asked([annotation("lake", duration=20.0).question])
    text = vlm.tokenizer_of().decode(slower["input_ids"][0])
    assert [f"<{at} seconds>" in text for at in (2.5, 12.5)] == [True] * 2  # a frame each 5 seconds
    assert slower["video_grid_thw"][0, 0] == 2


def test_what_is_wrong_is_told(videos, tmp_path):
    prompts = prompts_of("smolvlm", videos)
    with pytest.raises(InputError, match="0 files have the stem 'brook', but must be one"):
        prompts.asked([annotation("brook").question])
    for name in ("pond.mp4", "pond.mkv"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"2 files have the stem 'pond', but must be one: pond\.mkv, pond\.mp4"):
        VideoPrompts(prompts.processor, tmp_path).asked([annotation().question])
    with pytest.raises(InputError, match="no tokenizer with a chat template"):
        VideoPrompts(prompts.processor.tokenizer, videos)
    with pytest.raises(InputError, match="fps is 0, but must be above 0"):
        VideoPrompts(prompts.processor, videos, fps=0)
    with pytest.raises(InputError, match="qid 1: how long video 'pond' lasts is not told"):
        prompt(annotation(duration=None).question)


@pytest.mark.video
def test_answers_of_a_batch_are_those_of_each_alone(videos):
    prompts, model = prompts_of("qwen2_5_vl", videos), vlm.make_model("qwen2_5_vl").double()
    questions = [annotation().question, annotation("lake", query="rain", duration=20.0, qid=2).question]
    together = prompts.written(model.train(), questions, batch_size=2, max_new_tokens=5)
    assert model.training
    assert together == prompts.written(model, questions, max_new_tokens=5)
    assert len(set(together)) == 2
