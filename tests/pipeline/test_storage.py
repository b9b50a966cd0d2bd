"""Artifacts in object storage, by a server of S3 on this machine: runs that share no files, and DVC's remote."""

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.tiny import Project, make_project

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")
pytest.importorskip("snakemake_storage_plugin_s3")
pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SMALLEST = {"task": ["grounding"], "strategies": {"read": {}}}
BUNDLE = "results/bundles/read"
SECRET = "b3f5d0c1-of-this-test-alone"
STAMP = ".snakemake_timestamp"
TOPS = ("data/", "models/", "results/")
STORED = (
    "--default-storage-provider", "s3", "--default-storage-prefix", "s3://bucket/runs", "--shared-fs-usage", "none",
)  # fmt: skip
MADE_APART = (
    *("results/report/index.html", "results/report/metrics/"),  # it shows no video; DVC's alone
    *("data/transcripts/montage/subtitles/", "data/transcripts/montage_source/subtitles/"),  # of people and players
)


def digests(folder: Path) -> dict[str, str]:
    """Path -> md5 of the artifacts in a folder, but videos."""
    files = (path for top in TOPS for path in (folder / top).rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files if path.name != STAMP}
    return {
        name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for name, path in names.items()
        if "/videos/" not in name and not name.startswith(("data/catalog/", *MADE_APART))
    }


class Bucket:
    """A bucket, and what jobs and DVC have to know of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = boto3.client(
            "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key=SECRET
        )
        self.client.create_bucket(Bucket="bucket")
        self.environment = {
            "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": address,
            "SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "key",
            "SNAKEMAKE_STORAGE_S3_SECRET_KEY": SECRET,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def digests(self) -> dict[str, str]:
        """The same of what lies in the bucket; an object that came in one part is known by its md5."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="runs/")
        tags = {
            each["Key"].removeprefix("runs/"): each["ETag"].strip('"') for page in pages for each in page["Contents"]
        }
        return {
            name: self._md5(name) if "-" in tag else tag
            for name, tag in tags.items()
            if name.startswith(TOPS) and not name.startswith(MADE_APART) and not name.endswith(STAMP)
        }

    def _md5(self, name: str) -> str:
        content = self.client.get_object(Bucket="bucket", Key=f"runs/{name}")["Body"].read()
        return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(scope="module")
def bucket():
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Bucket(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(scope="module")
def runs(bucket, tmp_path_factory):
    """The same work, in files and in the bucket."""
    folder = tmp_path_factory.mktemp("storage")
    files = make_project(folder / "project")
    files.edit(SMALLEST)
    files.commit("smallest")
    stored = files.clone(folder / "stored")
    for project in (files, stored):
        project.environment |= bucket.environment
    files.snakemake("all", BUNDLE)
    return SimpleNamespace(files=files, stored=stored, said=stored.snakemake("all", BUNDLE, *STORED))


def test_a_run_in_object_storage_makes_the_same_and_has_nothing_left_to_do(runs, bucket):
    assert bucket.digests() == digests(runs.files.folder)  # and no videos, which were there for a while
    assert "DVC records none of this run" in runs.said
    assert runs.said.rstrip().endswith("The report: s3://bucket/runs/results/report/index.html")
    assert "Nothing to be done" in runs.stored.snakemake("all", BUNDLE, *STORED)
    assert not digests(runs.stored.folder)  # nothing lies where no job looks
    told = [path for path in runs.stored.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert told == []


def test_a_shard_is_had_and_extracted_on_one_node_that_has_nothing(runs, bucket, tmp_path, monkeypatch):
    before = bucket.digests()
    for name in ("raw/montage/shards/000.json", "features/montage/000.json", "features/montage/000.safetensors"):
        bucket.client.delete_object(Bucket="bucket", Key=f"runs/data/{name}")
    plugin = Path(__file__).parent / "elsewhere"
    runs.stored.environment |= {"NODES": str(tmp_path), "PYTHONPATH": str(plugin)}
    remote = ("--executor", "elsewhere", "--jobs", "2", "--seconds-between-status-checks", "1")
    runs.stored.run("snakemake", *STORED, *remote, "data/features/montage/000.safetensors")
    (node,) = tmp_path.iterdir()
    said = (node / "log").read_text()
    assert "rule download_shard" in said and "rule extract_shard" in said
    assert "Storing in storage: s3://bucket/runs/data/features/montage/000.safetensors" in said
    assert "Storing in storage: s3://bucket/runs/data/raw/montage/shards/000.tar" not in said
    assert bucket.digests() == before


@pytest.mark.parametrize("prefix", ["s3://nowhere/runs", "s3://bucket/runs"])
def test_storage_that_cannot_be_had_is_one_message(runs, prefix):
    environment = dict(runs.stored.environment)
    if prefix.startswith("s3://bucket"):
        environment["SNAKEMAKE_STORAGE_S3_ENDPOINT_URL"] = "http://127.0.0.1:9"  # discard: nobody listens
    refused = Project(runs.stored.folder)
    refused.environment = environment
    said = refused.run("snakemake", "-n", *STORED[:3], prefix, "--storage-s3-retries", "1", status=1)
    assert f"{prefix}/: " in said and "Traceback" not in said and len(said.splitlines()) < 6
    assert SECRET not in said


def test_dvc_keeps_artifacts_in_object_storage(runs, bucket, tmp_path):
    files = runs.files
    files.dvc("remote", "add", "--default", "--force", "store", "s3://bucket/dvc")
    files.dvc("remote", "modify", "store", "endpointurl", bucket.address)
    files.commit("finished")
    files.dvc("push", "--quiet")
    copy = files.clone(tmp_path / "clone")
    copy.environment |= bucket.environment | {"DVC_SITE_CACHE_DIR": os.fspath(tmp_path / "dvc-site")}
    copy.dvc("pull", "--quiet")
    made = {name: digest for name, digest in digests(files.folder).items() if not name.startswith(BUNDLE)}
    assert digests(copy.folder) == made  # a bundle is asked for by name, and of no stage of DVC
    copy.assert_settled()
