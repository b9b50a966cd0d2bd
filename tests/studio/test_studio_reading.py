"""What the studio knows of its videos: read in the background, asked at any time, whatever happens to the files."""

import json
import shutil
import socket
import threading
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from read.app.jobs import Job
from read.encoders.extractor import Extractor, ExtractorSettings
from read.errors import InputError
from read.files import atomic_path, write_json, write_text
from read.predictor import Predictor
from read.studio import at_hand, reading
from read.studio.minds import COPIES
from read.studio.order import margin
from read.studio.reading import FootageReading
from tests.app.fake import make_video, wait_until

pytest_plugins = ["tests.packed"]
pytestmark = pytest.mark.video
QUERY = "the dog jumps over the fence"


class Folder:
    """As `read.studio.folder.Footage`."""

    def __init__(self, folder):
        self.folder, self.broken, self.line = folder, set(), SimpleNamespace(at_work=False)

    @property
    def videos(self):
        found = {}
        for path in sorted(self.folder.iterdir()):
            state = path.stat()
            key = f"{path.stem}-{state.st_size}-{state.st_mtime_ns}"
            failed = "failed" if path.stem in self.broken else "ready"
            found[path.stem] = SimpleNamespace(vid=path.stem, path=path, key=key, state=failed)
        return found

    def strips(self):
        return {}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """`party.mp4` of 9.5 s, `short.mp4` of half a second."""
    folder = tmp_path_factory.mktemp("clips")
    make_video(folder / "party.mp4", 9.5)
    make_video(folder / "short.mp4", 0.5)
    return folder


@pytest.fixture
def folder(tmp_path, clips):
    return Folder(shutil.copytree(clips, tmp_path / "footage"))


@pytest.fixture
def working(tmp_path):
    """A checkout whose params.yaml names an encoder that is trained here: none is at hand."""
    set_clip(tmp_path, model="clip_tiny", pretrained=None)
    return tmp_path


def set_clip(working, **options):
    params = {"encoders": {"clip": options}, "extract": {"fps": 8.0}, "clip_len": 2.0}
    write_text(working / "params.yaml", yaml.safe_dump(params))


@pytest.fixture
def opened(folder, working):
    """Makes the reading of the folder; all are closed."""
    made = []

    def open_it(bundle=None):
        made.append(FootageReading(folder, working / "cache", working, "cpu"))
        made[-1].reload(bundle)
        return made[-1]

    yield open_it
    for each in made:
        each.close()


@pytest.fixture
def bundle(tmp_path, packed):
    return shutil.copytree(packed, tmp_path / "cache" / "bundle")


def settled(found, bundle=None):
    """Until all videos that are there have been read."""

    def done():
        found.reload(bundle)
        return found.by and all(found.state(vid) in ("done", "failed") for vid in found.footage.videos)

    wait_until(done, 90)
    return found


def idle(found):
    """Until what is done beside the reading is done."""
    wait_until(lambda: not found._aside.at_work, 90)


def test_a_bundle_answers_as_its_predictor_does(opened, bundle, packed, folder):
    found = settled(opened(bundle), bundle)
    told = found.answer("party", QUERY)
    predictor = Predictor.from_bundle(packed, "cpu")
    (answer,) = predictor.encode(folder.videos["party"].path).answer([QUERY], found.adapters[0])
    assert (found.by, told["state"], told["video"]) == ("bundle", "done", "party.mp4")
    assert [(m["start"], m["end"], m["score"]) for m in told["moments"]] == [tuple(m) for m in answer.moments]
    assert told["saliency"] == answer.saliency and told["threshold"] == predictor.threshold(found.adapters[0])
    assert found.adapters == [*predictor.bundle.adapters("grounding")] and found.predictor.info == predictor.info
    with pytest.raises(InputError, match="no adapter 'nobody'"):
        found.answer("party", QUERY, "nobody")


def test_candidates_share_nothing_and_no_bar_hides_them(opened, bundle, monkeypatch):
    found = settled(opened(bundle), bundle)
    rows = [(0, 4, 0.9), (1, 5, 0.8), (4, 6, 0.7), (6, 8, 0.3), (8, 9, 0.2)]
    moments = [dict(zip(("start", "end", "score"), row, strict=True)) for row in rows]
    told = {"state": "done", "moments": moments, "threshold": 0.95}
    monkeypatch.setattr(found, "answer", lambda vid, query: told)
    right = [moments[number] for number in (0, 2, 3)]
    assert found.moments("party", QUERY) == {"state": "done", "by": "bundle", "moments": right, "error": ""}


def test_without_anything_at_hand_there_is_an_order_all_the_same(opened):
    found = opened()
    idle(found)
    assert (found.by, found.adapters, found.predictor, found.state("party")) == (None, [], None, "none")
    assert found.moments("party", QUERY) == {"state": "none", "by": None, "moments": [], "error": ""}
    with pytest.raises(InputError, match="train one first"):
        found.answer("party", QUERY)
    told = found.order([SimpleNamespace(vid="short", query=QUERY)])
    assert told["by"] is None and [row["vid"] for row in told["order"]] == ["party"]


def test_a_public_encoder_compares_clips_and_sentence(opened, working, workspace, folder):
    set_clip(working, model="clip_tiny", pretrained="laion2b")  # as if an earlier run had made it of public weights
    shutil.copytree(workspace / "models/encoders/clip", working / "models/encoders/clip")
    write_json(working / "models/encoders/encoders.json", {"clip": {"pretrained": "laion2b"}})
    found = settled(opened())
    told = found.answer("party", QUERY)
    unit = torch.nn.functional.normalize
    extractor = Extractor(ExtractorSettings(), workspace / "models/encoders", names=["clip"])
    rows = torch.from_numpy(extractor.video(folder.videos["party"].path).arrays["clip"])
    cosines = unit(rows, dim=-1) @ unit(torch.from_numpy(extractor.sentences([QUERY])[0]), dim=-1)
    smooth = [float(cosines[max(0, n - 1) : n + 2].mean()) for n in range(len(cosines))]
    np.testing.assert_allclose(told["saliency"], smooth, atol=1e-4)
    assert (found.by, found.adapters, told["adapter"], told["threshold"]) == ("encoder", ["cosine"], "cosine", None)


def test_an_encoder_trained_here_is_none_that_helps(working, workspace):
    shutil.copytree(workspace / "models/encoders", working / "models/encoders")
    assert at_hand.extractor_at_hand(working, working / "cache", "cpu") is None


@pytest.mark.slow  # a process that imports torch
def test_weights_in_a_file_are_at_hand(working, workspace):
    weights = working / "mine.safetensors"
    shutil.copy(workspace / "models/encoders/clip/model.safetensors", weights)
    set_clip(working, model="clip_tiny", pretrained="mine.safetensors")
    extractor = at_hand.extractor_at_hand(working, working / "cache", "cpu")
    own = Extractor(ExtractorSettings(), workspace / "models/encoders", names=["clip"])
    assert extractor.spec["encoders"]["clip"]["weights"] == own.spec["encoders"]["clip"]["weights"]
    weights.unlink()
    assert at_hand.extractor_at_hand(working, working / "cache", "cpu").spec == extractor.spec  # it is kept


def test_weights_that_are_not_here_are_not_downloaded(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", socket.socket.connect)  # put back at the end
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/weights.pt"
        at_hand.unplug()
        with pytest.raises(OSError, match="without being asked for"):
            urllib.request.urlopen(address)
    assert at_hand.OFFLINE["HF_HUB_OFFLINE"] == "1"


def test_what_was_read_is_found_again_and_read_anew_where_it_was_deleted(opened, bundle, working, monkeypatch):
    calls, real = [], reading.features_of
    monkeypatch.setattr(reading, "features_of", lambda *args: calls.append(args[1].stem) or real(*args))
    settled(opened(bundle), bundle)
    found = settled(opened(bundle), bundle)
    told = found.answer("party", QUERY)
    assert calls == ["party", "short"]
    for path in (working / "cache" / "features").iterdir():
        path.write_bytes(b"damaged")
    found._mind.kept._kept.clear()
    assert found.answer("party", QUERY)["state"] in ("waiting", "running", "done")
    settled(found, bundle)
    assert found.answer("party", QUERY) == told
    assert calls[2:].count("party") == 1  # the other one too, if it is compared


def test_copies_are_told_where_what_was_read_of_the_others_was_deleted_meanwhile(opened, bundle, working, folder):
    found = settled(opened(bundle), bundle)
    idle(found)
    assert found.twins() == {}
    for path in (working / "cache" / "features").iterdir():
        path.unlink()
    found._mind.kept._kept.clear()
    shutil.copy2(folder.folder / "party.mp4", folder.folder / "again.mp4")

    def told():
        settled(found, bundle)
        return found.twins() == {"again": ["party"], "party": ["again"]}

    wait_until(told, 30)


class Gate:
    """Holds encodings at their first sign of progress."""

    def __init__(self, monkeypatch):
        self.open, self.at, real = threading.Event(), [], reading.features_of

        def held(extractor, path, encoders, progress):
            self.at.append(path.stem)
            while not self.open.wait(0.01):
                progress(0.0)
            return real(extractor, path, encoders, progress)

        monkeypatch.setattr(reading, "features_of", held)


@pytest.fixture
def gate(monkeypatch):
    found = Gate(monkeypatch)
    yield found
    found.open.set()


def test_what_is_asked_about_comes_next(opened, bundle, folder, gate):
    for name in ("x1", "x2", "x3"):
        shutil.copy(folder.folder / "short.mp4", folder.folder / f"{name}.mp4")
    found = opened(bundle)
    wait_until(lambda: gate.at)
    assert found.moments("x3", QUERY) == {"state": "waiting", "by": "bundle", "moments": [], "error": ""}
    gate.open.set()
    settled(found, bundle)
    assert gate.at[:2] == ["party", "x3"]


def test_a_video_that_goes_while_it_is_read_holds_nobody_up(opened, bundle, folder, gate, working):
    found = opened(bundle)
    wait_until(lambda: gate.at == ["party"])
    (folder.folder / "party.mp4").unlink()
    found.reload(bundle)
    assert found.state("party") == "none"
    wait_until(lambda: gate.at == ["party", "short"])
    gate.open.set()
    settled(found, bundle)
    assert found.state("short") == "done" and len([*(working / "cache/features").iterdir()]) == 1


def test_a_video_that_changes_while_it_is_read_is_read_again(opened, bundle, folder, gate):
    found = opened(bundle)
    wait_until(lambda: gate.at == ["party"])
    shutil.copy(folder.folder / "short.mp4", folder.folder / "party.mp4")
    gate.open.set()
    wait_until(lambda: found.state("party") == "failed")
    assert "was changed while it was read" in found.answer("party", QUERY)["error"]
    settled(found, bundle)
    assert found.answer("party", QUERY)["duration"] < 1


def test_a_broken_video_is_told_and_the_others_are_read(opened, bundle, folder):
    (folder.folder / "text.mp4").write_text("no video")
    found = settled(opened(bundle), bundle)
    told = found.moments("text", QUERY)
    assert told["state"] == "failed" and told["error"].startswith("text.mp4: ") and found.state("short") == "done"
    assert found.answer("text", QUERY) == {"state": "failed", "error": told["error"]}
    folder.broken.add("text")  # by now the folder knows, too
    found.reload(bundle)
    assert found.state("text") == "none" and "text" not in {row["vid"] for row in found.order([])["order"]}


def test_a_bundle_may_be_replaced_while_it_is_asked(opened, bundle, packed, working):
    """Models are loaded when they are first asked for: from the files as they were."""
    found = settled(opened(bundle), bundle)
    right = {name: found.answer("party", QUERY, name) for name in found.adapters}
    again = settled(opened(bundle), bundle)
    wrong, stop = [], threading.Event()

    def ask():
        while not stop.wait(0.05):
            for name in right:
                try:
                    if again.answer("party", QUERY, name) != right[name]:
                        wrong.append(name)
                except Exception as error:  # whatever it is, it is wrong
                    wrong.append(error)

    asking = threading.Thread(target=ask)
    shutil.rmtree(bundle)  # before any model was loaded
    asking.start()
    for _ in range(2):
        with atomic_path(bundle) as draft:  # as a training replaces it
            shutil.copytree(packed, draft)
        again.reload(bundle)
        idle(again)
    stop.set()
    asking.join()
    assert wrong == [] and again.trouble == ""
    again.close()
    found.close()
    assert [*(working / "cache").glob(f"{COPIES}*")] == []


def test_an_answer_under_way_outlives_two_trainings(opened, bundle, packed, monkeypatch):
    found, told, real = settled(opened(bundle), bundle), [], reading.answer_told
    right = found.answer("party", QUERY)
    again, asked, go = settled(opened(bundle), bundle), threading.Event(), threading.Event()  # its models: not loaded
    monkeypatch.setattr(reading, "answer_told", lambda *given: asked.set() or (go.wait(90) and real(*given)))
    asking = threading.Thread(target=lambda: told.append(again.answer("party", QUERY)))
    asking.start()
    assert asked.wait(90)
    for _ in range(2):
        with atomic_path(bundle) as draft:
            shutil.copytree(packed, draft)
        again.reload(bundle)
        idle(again)
    go.set()
    asking.join()
    assert told == [right]


def test_a_damaged_bundle_is_told_and_does_not_help(opened, bundle):
    config = json.loads((bundle / "config.json").read_text())
    write_json(bundle / "config.json", config | {"version": 99})
    found = opened(bundle)
    wait_until(lambda: found.trouble)
    assert found.by is None and "version 99" in found.trouble and COPIES not in found.trouble


def test_what_a_killed_studio_left_behind_is_removed(opened, working):
    left = working / "cache" / f"{COPIES}dead"
    left.mkdir(parents=True)
    opened()
    assert not left.exists()


def test_the_order_counts_what_the_model_is_unsure_of(opened, bundle):
    found, hold = settled(opened(bundle), bundle), threading.Event()
    found._aside.add(Job(lambda job: hold.wait(90)))  # until an order without doubts was seen
    queries = [QUERY, "rain falls", "a cat on a mat", "a street"]
    labels = [SimpleNamespace(vid="short", query=query) for query in (*queries, QUERY)]
    assert found.order(labels)["order"] == [{"vid": "party", "why": "unlike the labelled ones"}]
    hold.set()
    idle(found)
    (told,) = found.order(labels)["order"]
    moments = [found.answer("party", query)["moments"] for query in dict.fromkeys([QUERY, *queries[::-1]])]
    margins = [margin([(each["start"], each["end"], each["score"]) for each in of]) for of in moments]
    np.testing.assert_allclose(found._margins["party"], margins, atol=2e-4)  # one batch rounds differently
    unsure = sum(value <= np.quantile(margins, 0.25) for value in margins)
    assert told["why"].endswith(f"the model is unsure of {unsure} of 4 sentences")
