"""Labels of a card: files of several sides, mirrors, what is written of the dataset; the benchmarks' own cards."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from pipeline.annotations import fetch_annotations
from pipeline.card import load_card
from pipeline.params import DownloadSettings
from pipeline.sources.shards import dataset_videos, shard_digests, shard_of
from read.data import load_annotations, load_summaries
from read.errors import InputError
from read.files import read_json, sha256_of, write_jsonl
from read.metrics.protocol import get_protocol

CATALOG = Path(__file__).parents[2] / "data" / "catalog"
BENCHMARKS = ("qvhighlights", "tvsum", "youtube_highlights", "charades_sta")


def options(mirror: Path | None = None) -> DownloadSettings:
    return DownloadSettings(
        shards=2, tolerance=0.0, retries=0, timeout=5.0, mirror=None if mirror is None else str(mirror)
    )


def make_card(tmp_path: Path, **values):
    folder = tmp_path / "catalog" / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    card = {"title": "Mine", "licence": "l", "videos": {"source": "youtube"}} | values
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return load_card("mine", tmp_path / "catalog")


def write_rows(path: Path, first: int, count: int) -> Path:
    rows = [
        {"qid": number, "query": "a", "vid": f"v{number}", "duration": 30.0, "relevant_windows": [[2, 8]]}
        for number in range(first, first + count)
    ]
    write_jsonl(path, rows)
    return path


def written(tmp_path: Path) -> dict:
    return read_json(tmp_path / "raw" / "mine" / "dataset.json")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_had_from_a_mirror(mirror, tmp_path, name):
    card = load_card(name, CATALOG)
    fetch_annotations(card, options(mirror), 2.0, tmp_path)
    annotations = load_annotations(tmp_path / name / "annotations.jsonl", 2.0)
    about = read_json(tmp_path / name / "dataset.json")
    assert (about["metric"], about["n_queries"]) == (name, len(annotations))
    assert sum(side["labels"] for side in about["sides"].values()) == len(annotations)
    assert sum(side["videos"] for side in about["sides"].values()) == about["n_videos"]
    assert get_protocol(about["metric"]).oracle(annotations[:20], 2.0)
    assert not [path for path in (tmp_path / name).iterdir() if path.suffix == ".part"]
    assert dataset_videos(card, tmp_path) == sorted({annotation.vid for annotation in annotations})


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_cards_name_the_files_of_the_mirror(mirror, name):
    sums = dict(reversed(line.split()) for line in (mirror / "SHA256SUMS").read_text().splitlines())
    files = {digest: Path(path).name for path, digest in sums.items()}
    for part in load_card(name, CATALOG).annotations:
        assert files[part.sha256] == Path(part.url).name
        assert len(part.url.split("/")[5]) == 40  # pinned to a commit
        assert part.split


def test_parts_are_joined_and_described(tmp_path, capsys):
    places = tmp_path / "catalog" / "mine"
    write_rows(places / "train.jsonl", 0, 3)
    late = [{"qid": 9, "query": "a", "vid": "v9", "duration": 30.0, "relevant_windows": [[20, 33]]}]
    write_jsonl(places / "test.jsonl", late)
    parts = [{"file": "train.jsonl", "split": "train"}, {"file": "test.jsonl", "split": "test"}]
    card = make_card(tmp_path, annotations=parts, layout="charades_sta", metric="charades_sta", reference={"batch": 4})
    fetch_annotations(card, options(), 2.0, tmp_path / "raw")
    annotations = load_annotations(tmp_path / "raw" / "mine" / "annotations.jsonl", 2.0)
    assert [annotation.split for annotation in annotations] == ["train"] * 3 + ["test"]
    about = written(tmp_path)
    assert about["name"] == "Mine"
    assert (about["dataset"], about["metric"], about["clip_len"]) == ("mine", "charades_sta", 2.0)
    assert about["sides"] == {"train": {"labels": 3, "videos": 3}, "test": {"labels": 1, "videos": 1}}
    assert about["changed"] == {"windows clamped to the end of their video": 1}
    assert about["reference"] == {"batch": 4}
    assert "mine: 1 windows clamped to the end of their video" in capsys.readouterr().out
    assert card.files == [places / "card.yaml", places / "train.jsonl", places / "test.jsonl"]


def test_another_file_or_side_is_another_plan(tmp_path):
    places = tmp_path / "catalog" / "mine"
    write_rows(places / "a.jsonl", 0, 3)
    make_card(tmp_path, annotations=[{"file": "a.jsonl", "split": "train"}])
    before = shard_digests("mine", 2, tmp_path / "catalog")
    assert shard_digests("mine", 2, tmp_path / "catalog") == before
    write_rows(places / "a.jsonl", 0, 4)
    after = shard_digests("mine", 2, tmp_path / "catalog")
    remote = {"url": "https://e.org/b.jsonl", "sha256": "0" * 64}
    plans = [before, after]
    for extra in (remote, remote | {"sha256": "1" * 64}):
        make_card(tmp_path, annotations=[{"file": "a.jsonl", "split": "train"}, extra])
        plans.append(shard_digests("mine", 2, tmp_path / "catalog"))
    assert len({plan[shard_of("v0", 2)] for plan in plans}) == 4


def test_a_mirror_may_have_folders(tmp_path):
    copy = write_rows(tmp_path / "mirror" / "anything" / "a.jsonl", 0, 3)
    write_rows(tmp_path / "mirror" / "a.jsonl", 0, 1)  # another file of that name
    part = {"url": "http://127.0.0.1:9/a.jsonl", "sha256": sha256_of(copy), "split": "test"}
    card = make_card(tmp_path, annotations=[part])
    fetch_annotations(card, options(tmp_path / "mirror"), 2.0, tmp_path / "raw")
    assert written(tmp_path)["n_queries"] == 3
    assert copy.is_file()
    card = make_card(tmp_path, annotations=[part | {"sha256": "0" * 64}])
    with pytest.raises(InputError, match=r"the annotations of mine cannot be had: .*a\.jsonl has another sha256.*127"):
        fetch_annotations(card, options(tmp_path / "mirror"), 2.0, tmp_path / "raw")
    assert written(tmp_path)["n_queries"] == 3


def test_labels_bound_to_clips_ask_for_their_length(tmp_path):
    write_rows(tmp_path / "catalog" / "mine" / "a.jsonl", 0, 3)
    card = make_card(tmp_path, annotations="a.jsonl", clip_len=2.0)
    with pytest.raises(InputError, match=r"in clips of 2 s, but clip_len is 1; set clip_len: 2\.0 in params\.yaml"):
        fetch_annotations(card, options(), 1.0, tmp_path / "raw")
    fetch_annotations(card, options(), 2.0, tmp_path / "raw")


def how2(folder: Path) -> None:
    """A tiny How2 where its card wants it."""
    for number, side in enumerate(("sum_train", "sum_cv", "sum_devtest")):
        (folder / side).mkdir(parents=True)
        (folder / side / "tran.tok.txt").write_text(f"v{number} words\nw{number}\n")
        (folder / side / "desc.tok.txt").write_text(f"v{number} a summary\nw{number} another\n")


def test_how2_says_what_a_person_has_to_do(tmp_path):
    shutil.copytree(CATALOG / "how2", tmp_path / "data" / "catalog" / "how2")
    card = load_card("how2", tmp_path / "data" / "catalog")
    for act in (
        lambda: fetch_annotations(card, options(), 2.0, tmp_path / "raw"),
        lambda: shard_digests("how2", 2, tmp_path / "data" / "catalog"),
    ):
        with pytest.raises(InputError, match=r"data/manual/how2/sum_train, .* must be there\nHow2's videos are mostly"):
            act()
    how2(tmp_path / "data" / "manual" / "how2")
    fetch_annotations(card, options(), 2.0, tmp_path / "raw")
    summaries = load_summaries(tmp_path / "raw" / "how2" / "summaries.jsonl")
    assert [(summary.vid, summary.split) for summary in summaries][:3] == [
        ("v0", "train"),
        ("w0", "train"),
        ("v1", "val"),
    ]
    about = read_json(tmp_path / "raw" / "how2" / "dataset.json")
    assert (about["metric"], about["n_queries"], about["n_summaries"], about["n_videos"]) == (None, 0, 6, 6)
    assert about["sides"]["test"] == {"labels": 2, "videos": 2}
    assert set(shard_digests("how2", 2, tmp_path / "data" / "catalog")) == {"000", "001"}
    assert len(card.files) == 7


def test_the_montage_is_described_too(tmp_path):
    shutil.copytree(CATALOG / "montage", tmp_path / "catalog" / "montage")
    path = tmp_path / "catalog" / "montage" / "card.yaml"
    path.write_text(path.read_text().replace("train: 52", "train: 2").replace("test: 150", "test: 1"))
    card = load_card("montage", tmp_path / "catalog")
    fetch_annotations(card, options(), 2.0, tmp_path / "raw")
    about = read_json(tmp_path / "raw" / "montage" / "dataset.json")
    assert about["metric"] == "qvhighlights"
    assert about["n_videos"] == len(dataset_videos(card))
    assert about["domains"]
    assert json.dumps(about)
