"""A bundle's models on videos: equal to the stages' own predictions, kept by content, switched without loading."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from read.adapters import load_adapter
from read.backbones import load_backbone
from read.backbones.tokenizer import load_tokenizer
from read.backbones.visual_guidance import VisualGuidance
from read.bundle import Bundle, export
from read.data import FeatureStore, Question, Sample, Summary, write_shard
from read.data.features import text_arrays
from read.encoders.cut import cut
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.frames import iter_clips
from read.encoders.kinds.pann import Cnn14, Pann
from read.encoders.program import stated_seconds
from read.errors import InputError
from read.grounding.inference import predict
from read.grounding.windows import WindowSettings
from read.predictor import Predictor
from read.summarization.summarize import make_summary_samples, summarize
from tests.bundles import PREDICT, TEXTS, folder_of, make_workspace

pytest_plugins = ["tests.packed"]
pytestmark = pytest.mark.video
QUERIES = ["the dog jumps over the fence", "it rains", "größer – ein Hund 🐕 läuft"]


@pytest.fixture(scope="module")
def predictor(packed):
    return Predictor.from_bundle(packed)


@pytest.fixture(scope="module")
def store(workspace, videos, tmp_path_factory):
    """Features as the extract stage writes them."""
    extractor = Extractor(ExtractorSettings(), workspace / "models/encoders")
    root = tmp_path_factory.mktemp("features")
    arrays = {
        f"{encoder}/{vid}": array
        for vid in ("party", "short")
        for encoder, array in extractor.video(videos / f"{vid}.mp4").arrays.items()
    }
    write_shard(root, "000", arrays, extractor.spec)
    texts = text_arrays(range(len(QUERIES)), extractor.text(QUERIES), extractor.sentences(QUERIES))
    write_shard(root, "text", texts, extractor.spec)
    return FeatureStore(root)


def staged(workspace, store, vid, run, duration):
    """What the evaluate stage writes."""
    model = load_adapter(load_backbone(workspace / "models/backbone/grounding"), folder_of(workspace, run))
    samples = [
        Sample(store.video(vid), store.text(number), Question(number, query, vid, duration), 2.0)
        for number, query in enumerate(QUERIES)
    ]
    return predict(model, samples, WindowSettings(**PREDICT["grounding"]))


@pytest.mark.parametrize("vid", ["party", "short"])
@pytest.mark.parametrize("run", ["read/k2-s0", "full/k2-s0", "bias/k2-s0"])
def test_answers_are_what_the_evaluate_stage_writes(predictor, workspace, store, videos, vid, run):
    video = predictor.encode(videos / f"{vid}.mp4")
    assert torch.equal(video.features.clips, store.video(vid))
    adapter = run.replace("/", "_").replace("-", "_") if run.startswith("read") else run.split("/")[0]
    for answer, row in zip(
        video.answer(QUERIES, adapter), staged(workspace, store, vid, run, video.duration), strict=True
    ):
        assert answer.query == row["query"]
        assert [list(moment) for moment in answer.moments] == row["pred_relevant_windows"]
        assert answer.saliency == row["pred_saliency_scores"]


def test_models_get_the_features_that_the_stages_keep(predictor, store, videos, monkeypatch):
    got = []

    def watched(model, samples, settings):
        got.extend(samples)
        return predict(model, samples, settings)

    monkeypatch.setattr("read.predictor.predict", watched)
    predictor.encode(videos / "party.mp4").answer(QUERIES)
    columns = store.joint
    assert columns is not None and predictor.bundle.features["joint"] == "clip"
    for number, sample in enumerate(got):
        assert torch.equal(sample.text, store.text(number)) and torch.equal(sample.sentence, store.sentence(number))
        cosine = sample.video[:, columns] @ sample.sentence  # both are of length 1
        assert cosine.abs().max() <= 1 + 1e-5
    assert len(got) == len(QUERIES)


def test_summaries_are_what_the_evaluate_stage_writes(predictor, workspace, store, videos):
    backbone = workspace / "models/backbone/summarization"
    model = load_adapter(VisualGuidance.load(backbone), folder_of(workspace, "read/k2-s0", "summarization"))
    tokenizer = load_tokenizer(backbone / "tokenizer")
    samples, _ = make_summary_samples([Summary("party", TEXTS[0], "")], store.video, tokenizer, 64)
    (row,) = summarize(model, tokenizer, samples, **PREDICT["summarization"])
    video = predictor.encode(videos / "party.mp4")
    assert video.summary(TEXTS[0]) == row["summary"] != ""
    assert isinstance(video.summary(), str)  # nobody speaks
    assert isinstance(video.summary("long " * 1000), str)


def test_moments_and_saliency_have_the_form_that_is_promised(predictor, videos):
    video = predictor.encode(videos / "party.mp4")
    assert (video.duration, video.clip_len) == (9.5, 2.0)
    moments = video.moments(QUERIES[0])
    assert 1 <= len(moments) <= 10
    assert [moment.score for moment in moments] == sorted((moment.score for moment in moments), reverse=True)
    assert all(0 <= start < end <= 9.5 for start, end, _ in moments)
    assert len(video.saliency(QUERIES[0])) == 5
    assert video.moments(tuple(QUERIES)) == [answer.moments for answer in video.answer(QUERIES)]
    assert video.saliency(QUERIES) == [answer.saliency for answer in video.answer(QUERIES)]
    assert video.answer([]) == [] and video.moments([]) == []


def test_queries_in_one_batch_get_what_each_gets_alone(predictor, videos):
    video = predictor.encode(videos / "party.mp4")
    for together, query in zip(video.answer(QUERIES), QUERIES, strict=True):
        (alone,) = video.answer([query])
        np.testing.assert_allclose(together.saliency, alone.saliency, atol=2e-4)
        np.testing.assert_allclose(together.moments, alone.moments, atol=2e-4)


def test_moments_below_the_bar_can_be_left_out(predictor, videos):
    video, bar = predictor.encode(videos / "party.mp4"), predictor.threshold("full")
    assert bar == 0.5 and predictor.threshold("adapter") is None
    every = video.moments(QUERIES[0], "full")
    assert video.moments(QUERIES[0], "full", confident=True) == [moment for moment in every if moment.score >= bar]
    assert video.moments(QUERIES[0], "adapter", confident=True) == video.moments(QUERIES[0], "adapter")


def test_a_switch_gives_what_loading_alone_gives(predictor, videos):
    names = ["read_k2_s0", "adapter", "full", "read_k2_s1", "read_k2_s0", "bias", "adapter"]
    one = Predictor(predictor.bundle, predictor.extractor)
    video = one.encode(videos / "party.mp4")
    switched = [one.use(name) and video.answer(QUERIES) for name in names]
    for name, answers in zip(names, switched, strict=True):
        alone = Predictor(predictor.bundle, predictor.extractor).use(name)
        assert alone.adapter == name
        assert alone.encode(videos / "party.mp4").answer(QUERIES) == answers
    assert switched[0] != switched[1] != switched[2] != switched[3]


def test_an_adapter_is_chosen_on_loading(packed):
    assert Predictor.from_bundle(packed).adapter == "read_k2_s0"
    assert Predictor.from_bundle(packed, adapter="bias").adapter == "bias"


def test_a_switch_loads_nothing_twice(predictor, videos, monkeypatch):
    fresh = Predictor(predictor.bundle, predictor.extractor)
    video, loaded = fresh.encode(videos / "party.mp4"), []
    monkeypatch.setattr(
        "read.bundle.models.load_backbone", lambda folder: loaded.append(folder) or load_backbone(folder)
    )
    for name in ("read_k2_s0", "read_k2_s1", "adapter", "full", "read_k2_s0", "full", "adapter"):
        video.moments(QUERIES[0], name)
    assert len(loaded) == 2  # one for all that can be switched, one for what changes every weight


def test_names_that_there_are_not(predictor, videos):
    video = predictor.encode(videos / "party.mp4")
    with pytest.raises(InputError, match="did you mean adapter"):
        predictor.use("adaptr")
    with pytest.raises(InputError, match="for summarization the bundle has no adapter 'full'; there are read"):
        video.summary("", "full")
    with pytest.raises(InputError, match="'nope'"):
        video.moments("a dog", "nope")
    with pytest.raises(InputError, match="device 'abacus'"):
        Predictor.from_bundle(predictor.bundle.folder, "abacus")


def test_a_bundle_of_one_task_says_so(packed, workspace, videos, tmp_path):
    from read.bundle import export

    export([folder_of(workspace, "read/k2-s0", "summarization")], tmp_path / "writer")
    video = Predictor.from_bundle(tmp_path / "writer").encode(videos / "short.mp4")
    with pytest.raises(InputError, match="no model for grounding, only for summarization"):
        video.moments("a dog")


@pytest.mark.parametrize("queries", ["", "  \n", ["a dog", " "]])
def test_an_empty_query_is_told(predictor, videos, queries):
    with pytest.raises(InputError, match=r"query \d of \d is empty"):
        predictor.encode(videos / "short.mp4").moments(queries)


def test_files_that_are_no_videos(predictor, videos):
    with pytest.raises(InputError, match=r"text\.mp4"):
        predictor.encode(videos / "text.mp4")
    with pytest.raises(InputError, match="no such file"):
        predictor.encode(videos / "absent.mp4")


def test_a_video_is_decoded_once_whatever_its_name(packed, videos, tmp_path, monkeypatch):
    calls, extract = [], Extractor.video
    monkeypatch.setattr(Extractor, "video", lambda self, path: calls.append(path) or extract(self, path))
    predictor = Predictor.from_bundle(packed, cache_dir=tmp_path / "cache")
    first = predictor.encode(videos / "party.mp4")
    copied = shutil.copy(videos / "party.mp4", tmp_path / "renamed.mkv")
    second = predictor.encode(copied)
    assert second.features is first.features and second.path == tmp_path / "renamed.mkv"
    again = Predictor.from_bundle(packed, cache_dir=tmp_path / "cache").encode(copied)
    assert torch.equal(again.features.clips, first.features.clips) and again.duration == first.duration
    assert len(calls) == 1
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])  # damaged: it is made anew
    assert Predictor.from_bundle(packed, cache_dir=tmp_path / "cache").encode(copied).duration == first.duration
    assert len(calls) == 2
    predictor.encode(videos / "short.mp4")  # another content is another video
    assert len(calls) == 3


def test_features_are_joined_in_the_order_of_training(predictor, packed, videos):
    """A later version may run its encoders in another order; the spec of the training holds."""
    config = dict(predictor.bundle.config)
    config["features"] = config["features"] | {"encoders": dict(reversed(config["features"]["encoders"].items()))}
    other = Predictor(Bundle(packed, config), predictor.extractor)
    usual, turned = (each.encode(videos / "party.mp4").features.clips for each in (predictor, other))
    first = next(iter(predictor.bundle.features["encoders"].values()))["dim"]
    assert torch.equal(turned, torch.cat([usual[:, first:], usual[:, :first]], 1))


def test_progress_goes_up_to_the_end_and_may_stop_it(packed, predictor, videos, monkeypatch):
    plain, seen = predictor.encode(videos / "party.mp4"), []
    predictor = Predictor.from_bundle(packed)
    monkeypatch.setattr("read.encoders.flow.CPU_CLIPS", 2)
    video = predictor.encode(videos / "party.mp4", lambda *progress: seen.append(progress))
    assert seen == sorted(seen) and seen[-1] == (9.5, 9.5)
    assert {*seen} <= {(4.0, 9.5), (8.0, 9.5), (9.5, 9.5)}
    assert torch.allclose(video.features.clips, plain.features.clips, atol=1e-5)

    class StopError(Exception):
        pass

    def stop(done, total):
        raise StopError

    with pytest.raises(StopError):
        predictor.encode(videos / "größe Ü.mp4", stop)
    assert predictor.encode(videos / "größe Ü.mp4").duration == 5.0


def test_threads_may_share_a_predictor(predictor, videos, quick_turns):
    """Videos are encoded and models loaded while others are asked, some by adapters that share a model."""
    asked = [
        (vid, name) for vid in ("party", "größe Ü", "short") for name in ("read_k2_s0", "read_k2_s1", "adapter", "full")
    ]

    def ask(predictor, vid, name):
        video = predictor.encode(videos / f"{vid}.mp4")
        return video.answer(QUERIES, name), video.summary("a dog") if name == "full" else ""

    alone = [ask(predictor, *each) for each in asked]
    shared = Predictor(predictor.bundle, predictor.extractor)
    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(lambda each: ask(shared, *each), asked * 2)] == alone * 2


def test_a_switch_by_another_thread_falls_between_answers(predictor, videos, monkeypatch):
    """And never within one: its bar and its scores are of one adapter, which the task has."""
    shared, name = Predictor(predictor.bundle, predictor.extractor), "read_k2_s0"
    video, bar = shared.encode(videos / "party.mp4"), predictor.threshold(name)
    expected = [moment for moment in video.moments(QUERIES[0], name) if moment.score >= bar]
    other = video.moments(QUERIES[0], "full")

    def switching(adapter=None):
        bar = Predictor.threshold(shared, adapter)
        shared.use("full")
        return bar

    monkeypatch.setattr(shared, "threshold", switching)
    assert expected and expected != [moment for moment in other if moment.score >= bar]
    assert video.moments(QUERIES[0], confident=True) == expected

    class Switching(dict):
        def __contains__(self, name):
            return super().__contains__(name) and bool(shared.use("full"))

    shared.use("read")
    known = Switching(shared.bundle.adapters("summarization"))
    monkeypatch.setattr(shared, "bundle", SimpleNamespace(adapters=lambda task: known))
    assert shared.adapter_for("summarization") == "read"


def test_memory_stays_bounded(predictor, monkeypatch):
    """Frames go through the encoders batch by batch: no more of them at once than a batch holds."""
    sizes = []
    clip = predictor.extractor.encoders["clip"]
    monkeypatch.setattr(
        "read.encoders.extractor.read_views",
        lambda *_: (([np.zeros((16, 64, 64, 3), np.uint8)], 16) for _ in range(100)),
    )
    video = clip.video
    monkeypatch.setattr(clip, "video", lambda clips: sizes.append(len(clips)) or video(clips))
    assert predictor.extractor.video("anything").seconds == 200
    assert sizes == [16] * 7  # the last is filled up


def test_the_bundle_is_that_of_the_card(predictor, packed):
    assert predictor.info == Bundle.open(packed).config["card"]
    assert predictor.tasks == ["grounding", "summarization"]


def test_a_cut_lasts_as_long_as_it_should(videos, tmp_path):
    cut(videos / "party.mp4", 2.5, 6.0, tmp_path / "cut.mp4")
    assert stated_seconds(tmp_path / "cut.mp4") == pytest.approx(3.5, abs=0.13)
    whole = np.concatenate(list(iter_clips(videos / "party.mp4", 8, 1.0, 64)))[20:48].astype(float)
    part = np.concatenate(list(iter_clips(tmp_path / "cut.mp4", 8, 0.5, 64))).astype(float)
    assert part.shape == whole.shape
    assert np.abs(part - whole).mean() < 8 < np.abs(part - whole[::-1]).mean()  # the same pictures, encoded once more
    assert stated_seconds(videos / "text.mp4") is None
    with pytest.raises(InputError, match="nothing to cut"):
        cut(videos / "party.mp4", 3.0, 3.0, tmp_path / "none.mp4")
    with pytest.raises(InputError, match="no such file"):
        cut(videos / "absent.mp4", 0, 1, tmp_path / "none.mp4")


def test_gradients_are_not_kept(predictor, videos):
    predictor.encode(videos / "party.mp4").answer(QUERIES)
    models: list[nn.Module] = list(predictor._models["grounding"]._of.values())
    assert all(parameter.grad is None for model in models for parameter in model.parameters())


def test_a_bundle_that_hears_gives_what_the_stages_give(footage, videos, tmp_path, monkeypatch):
    """With features as they are; and says where there was nothing to hear, from its cache as well."""
    torch.manual_seed(3)
    ears = {"pann": Pann(Cnn14(2), {"name": "cnn14", "width": 2})}
    workspace = make_workspace(tmp_path / "workspace", ears, normalise=False)
    bundle = export([folder_of(workspace, "read/k2-s0")], tmp_path / "ears")
    names, path = ["slowfast", "clip", "pann"], footage / "videos/hello.mp4"
    extractor = Extractor(ExtractorSettings(normalise=False), workspace / "models/encoders", names=names)
    found = extractor.video(path)
    write_shard(
        tmp_path / "features", "000", {f"{name}/hello": rows for name, rows in found.arrays.items()}, extractor.spec
    )
    store = FeatureStore(tmp_path / "features")
    predictor = Predictor.from_bundle(bundle.folder, cache_dir=tmp_path / "cache")
    video = predictor.encode(path)
    torch.testing.assert_close(video.features.clips, store.video("hello"), atol=1e-5, rtol=0)
    assert video.told == found.told == "" and store.sound == slice(576, 640)
    np.testing.assert_array_equal(store.video("hello")[:, store.sound].numpy(), found.arrays["pann"])
    assert predictor.extractor.joint is None and store.joint is None

    text = predictor.extractor.text(["a dog"])[0]
    sample = Sample(store.video("hello"), torch.from_numpy(text), Question(0, "a dog", "hello", video.duration), 2.0)
    model = load_adapter(load_backbone(workspace / "models/backbone/grounding"), folder_of(workspace, "read/k2-s0"))
    (row,) = predict(model, [sample], WindowSettings(**PREDICT["grounding"]))
    np.testing.assert_allclose(video.moments("a dog"), row["pred_relevant_windows"], atol=1e-4)
    hushed = torch.cat((sample.video[:, :576], 0 * sample.video[:, 576:]), 1)
    (other,) = predict(model, [replace(sample, clips=hushed)], WindowSettings(**PREDICT["grounding"]))
    assert not np.allclose(other["pred_saliency_scores"], row["pred_saliency_scores"])

    assert predictor.encode(videos / "short.mp4").told == "has no sound track"
    again = Predictor(predictor.bundle, predictor.extractor, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(Extractor, "video", None)
    assert again.encode(videos / "short.mp4").told == "has no sound track"
