"""A stranger's bundle: whatever stands in it, it ends in a message, soon and in little memory; nothing in it runs."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from read.bundle import Bundle
from read.errors import InputError
from read.predictor import Predictor
from tests.hostile import CONFIG, CONTENTS, EDITS, HEAVY, KINDS, TEXT, TOKENS, spoil, use

pytest_plugins = ["tests.packed"]
SOON, MEMORY = 5.0, 1024  # seconds of CPU, MiB


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "copy")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in HEAVY])
def test_a_hostile_bundle_ends_in_a_message(copy, videos, kind):
    spoil(copy, kind)
    began = time.process_time()
    with pytest.raises(InputError) as told:
        use(copy, videos / "short.mp4")
    assert time.process_time() - began < SOON
    message = str(told.value)
    assert str(copy) in message and len(message) < 2000
    assert message.isprintable()


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_heavy_bundles_end_in_a_message_within_a_gigabyte(packed, videos, tmp_path):
    for kind in HEAVY:
        spoil(shutil.copytree(packed, tmp_path / kind), kind)
    shutil.copytree(packed, tmp_path / "as-it-was")
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile", tmp_path, videos / "short.mp4"],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    rows = [line.split() for line in done.stdout.splitlines()]
    usual = int(rows[0][3])
    found = {kind: (ended, float(seconds), int(most) - usual) for kind, ended, seconds, most in rows[1:]}
    assert found.keys() == set(HEAVY), done.stderr
    wrong = {
        kind: row for kind, row in found.items() if row[0] != "refused" or row[1] > SOON or row[2] > MEMORY
    }  # fmt: skip
    assert not wrong


def test_every_kind_is_another_one():
    assert len(KINDS) == len(EDITS) + len(CONTENTS) and set(HEAVY) <= set(KINDS)


@pytest.fixture
def trap(copy, monkeypatch):
    """A bundle whose configs name code that leaves a file behind, and a person who would answer y."""
    sprung = copy.parent / "sprung"
    code = f"open({str(sprung)!r}, 'w')\n"
    (copy.parent / "evil.py").write_text(code)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a person was asked"))
    yield copy, sprung
    assert not sprung.exists()


def test_code_that_a_model_names_is_dropped(trap, videos):
    copy, _ = trap
    document = json.loads((copy / TEXT).read_text())
    named = {"AutoConfig": "../../evil.C", "AutoModelForSeq2SeqLM": "../../evil.M"}
    kernels = {"attn_implementation": "evil/kernels", "_attn_implementation": "evil/kernels"}
    document["seq2seq"] |= {"auto_map": named, "_name_or_path": str(copy.parent), **kernels}
    document["generation"] |= {"penalty_alpha": 0.6, "top_k": 4, "num_return_sequences": 10**6, "num_beam_groups": 3}
    (copy / TEXT).write_text(json.dumps(document))
    _list_anew(copy, TEXT)
    predictor = Predictor.from_bundle(copy)
    assert isinstance(predictor.encode(videos / "short.mp4").summary("a cat"), str)
    kept = predictor._models["summarization"].get("read").seq2seq.config
    assert not hasattr(kept, "auto_map") and kept._name_or_path == ""


def test_code_that_a_tokenizer_names_is_refused(trap, videos):
    copy, _ = trap
    name = TOKENS + "tokenizer_config.json"
    document = json.loads((copy / name).read_text())
    document["auto_map"] = {"AutoTokenizer": ["evil.T", "evil.T"]}
    (copy / name).write_text(json.dumps(document))
    (copy / TOKENS / "evil.py").write_text((copy.parent / "evil.py").read_text())
    _list_anew(copy, name)
    with pytest.raises(InputError, match=r"evil\.py is not among the files"):
        Bundle.open(copy)
    (copy / TOKENS / "evil.py").unlink()
    with pytest.raises(InputError, match="auto_map names code"):
        Predictor.from_bundle(copy).encode(videos / "short.mp4").summary("a cat")


@pytest.mark.parametrize("place", [".evil.py", "grounding/.evil.py", "summarization/tokenizer/.x/evil.json"])
def test_what_is_hidden_is_refused(copy, place):
    (copy / place).parent.mkdir(exist_ok=True)
    (copy / place).write_text("x")
    with pytest.raises(InputError, match="is hidden"):
        Bundle.open(copy)


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("name", [CONFIG, "grounding/model.safetensors", "encoders", "extra"])
def test_links_are_refused(copy, name):
    if (copy / name).exists():
        shutil.move(copy / name, copy.parent / "elsewhere")
    else:
        (copy.parent / "elsewhere").mkdir()
    (copy / name).symlink_to(copy.parent / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        Bundle.open(copy)


def _list_anew(folder, name):
    from read.files import sha256_of

    config = json.loads((folder / CONFIG).read_text())
    config["files"][name] = sha256_of(folder / name)
    (folder / CONFIG).write_text(json.dumps(config))
