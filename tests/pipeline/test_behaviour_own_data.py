"""A person's own videos: one video more touches its shard only."""

import numpy as np
import pytest
import yaml

from pipeline.sources.shards import shard_of
from read.encoders.frames import write_video
from read.files import write_jsonl

pytestmark = pytest.mark.slow
TARGET = "data/features/mine/features.json"


def annotate(project, vids: list[str]) -> None:
    rows = [
        {"qid": number, "query": f"a grey square in {vid}", "vid": vid, "duration": 4.0, "relevant_windows": [[0, 2]]}
        for number, vid in enumerate(vids)
    ]
    write_jsonl(project.folder / "data/catalog/mine/annotations.jsonl", rows)


def times(project, pattern: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in project.folder.glob(pattern)}


def test_one_video_added_touches_its_shard_only(project):
    vids = ["v0", "v1", "v2", "v3"]
    card = project.folder / "data/catalog/mine"
    (card / "videos").mkdir(parents=True)
    for number, vid in enumerate([*vids, "new"]):
        write_video(card / f"videos/{vid}.mp4", np.full((32, 64, 64, 3), 40 * number, np.uint8), 8)
    values = {"title": "Mine", "licence": "my own", "annotations": "annotations.jsonl"}
    (card / "card.yaml").write_text(yaml.safe_dump(values | {"videos": {"source": "local", "folder": "videos"}}))
    annotate(project, vids)
    project.edit({"dataset": "mine"})
    project.snakemake(TARGET)
    assert project.json(TARGET)["videos"] == 4
    videos, features = times(project, "data/raw/mine/videos/*"), times(project, "data/features/mine/*.safetensors")

    annotate(project, [*vids, "new"])
    jobs = project.planned_jobs(TARGET)
    assert (jobs["download_shard"], jobs["extract_shard"]) == (1, 1)
    assert "encoder" not in jobs
    project.snakemake(TARGET)
    assert project.json(TARGET)["videos"] == 5
    added = times(project, "data/raw/mine/videos/*")
    assert added.pop("new.mp4")
    assert added == videos
    touched = {name for name, at in times(project, "data/features/mine/*.safetensors").items() if at != features[name]}
    assert touched == {f"{shard_of('new', 2)}.safetensors", "text.safetensors"}
