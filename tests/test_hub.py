"""Bundles and adapters to a hub and from it; the hub is one of this machine."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import read
from read.adapters import apply_strategy, load_adapter, save_adapter
from read.bundle import Bundle
from read.errors import InputError
from read.predictor import Predictor
from tests.adapters.conftest import make_batch, make_univtg, wake
from tests.hub_fake import running

pytest_plugins = ["tests.packed"]
hub_client = pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub, of which a person with a token is asked; its client keeps what it brings in a folder of the test."""
    from huggingface_hub import constants

    with running() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(hub_client.hf_api.api, "endpoint", found.address)
        monkeypatch.setattr(pytest.importorskip("transformers").utils.hub, "_hf_api", None)  # made once, for all time
        template = f"{found.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home/hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_me")
        monkeypatch.chdir(tmp_path)
        yield found


def texts(folder):
    return "".join(path.read_text(errors="replace") for path in Path(folder).rglob("*") if path.is_file())


@pytest.fixture
def adapter(tmp_path):
    model = wake(apply_strategy("read", make_univtg()))
    save_adapter(model, tmp_path / "mine")
    return model, tmp_path / "mine"


def spans(model):
    with torch.no_grad():
        return model(**make_batch())["spans"]


def test_a_bundle_goes_there_and_comes_back(hub, packed, tmp_path):
    address = read.push(packed, "me/moments", private=True)
    assert address == f"{hub.address}/me/moments" and hub.repositories["me/moments"].private
    assert len(hub.large) > 3  # weights went by LFS
    predictor = Predictor.from_bundle("me/moments", device="cpu")
    assert predictor.info == Bundle.open(packed).config["card"]
    there = {path.relative_to(packed).as_posix(): path.read_bytes() for path in packed.rglob("*") if path.is_file()}
    brought = predictor.bundle.folder
    found = {path.relative_to(brought).as_posix(): path.read_bytes() for path in brought.rglob("*") if path.is_file()}
    assert found == there and not any(path.is_symlink() for path in brought.rglob("*"))
    asked = len(hub.asked)
    Bundle.open("me/moments")
    assert len(hub.asked) == asked + 1  # whether there is a newer one
    assert "hf_me" not in texts(tmp_path / "home/read-adapters")


def test_a_folder_here_wins(hub, packed, tmp_path):
    shutil.copytree(packed, tmp_path / "me/moments")
    assert Bundle.open("me/moments").folder == Path("me/moments") and not hub.asked


def test_revisions_and_what_an_earlier_push_left(hub, packed, adapter, tmp_path):
    read.push(packed, "me/moments")
    repository = hub.repositories["me/moments"]
    first = repository.refs["main"]
    repository.refs["v1"] = first
    smaller = tmp_path / "smaller"
    shutil.copytree(packed, smaller)
    config = json.loads((smaller / "config.json").read_text())
    dropped = list(config["tasks"]["grounding"]["adapters"])[-1]
    del config["tasks"]["grounding"]["adapters"][dropped]
    config["files"] = {name: digest for name, digest in config["files"].items() if f"/{dropped}/" not in name}
    (smaller / "config.json").write_text(json.dumps(config))
    shutil.rmtree(smaller / "grounding/adapters" / dropped)
    read.push(smaller, "me/moments")
    assert not any(f"/{dropped}/" in name for name in repository.commits[repository.refs["main"]])
    assert ".gitattributes" in repository.commits[repository.refs["main"]]  # which is not ours
    assert dropped not in Bundle.open("me/moments").adapters("grounding")
    for revision in ("v1", first):
        assert dropped in Bundle.open(f"me/moments@{revision}").adapters("grounding")
    with pytest.raises(InputError, match="me/moments@v2: the repository has no such revision"):
        Bundle.open("me/moments@v2")


def test_an_adapter_goes_there_with_a_card(hub, adapter):
    model, folder = adapter
    read.push(folder, "me/mine")
    files = hub.repositories["me/mine"].commits[hub.repositories["me/mine"].refs["main"]]
    assert files.keys() == {".gitattributes", "adapter.json", "adapter.safetensors", "README.md"}
    card = files["README.md"].decode()
    assert 'read.load_adapter(model, "me/mine")' in card and "| mixer | gru |" in card
    assert hub_client.RepoCard(card).data.library_name == "read-adapters"
    assert torch.equal(spans(load_adapter(make_univtg(), "me/mine")), spans(model))
    hub.repositories["me/mine"].commit({**files, "README.md": b"by hand"})
    read.push(folder, "me/mine")
    assert hub.repositories["me/mine"].commits[hub.repositories["me/mine"].refs["main"]]["README.md"] == b"by hand"
    fetched = [path for method, path in hub.asked if method == "GET" and "/resolve/" in path]
    assert {path.rpartition("/")[2] for path in fetched} <= {"adapter.json", "adapter.safetensors", "README.md"}


def test_out_of_reach_what_was_seen_last_is_there(hub, adapter, monkeypatch):
    from huggingface_hub import constants

    read.push(adapter[1], "me/mine")
    load_adapter(make_univtg(), "me/mine")
    hub.broken = True
    assert torch.equal(spans(load_adapter(make_univtg(), "me/mine")), spans(adapter[0]))
    with pytest.raises(InputError, match=r"me/other@main: cannot be had: http://.* answers with an error \(503\)"):
        load_adapter(make_univtg(), "me/other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_adapter(make_univtg(), "me/mine")
    with pytest.raises(InputError, match=r"me/other@main: no folder here, and http://.* cannot be reached \(Offline"):
        load_adapter(make_univtg(), "me/other")


def test_errors_say_what_a_person_can_do(hub, packed, adapter, tmp_path, monkeypatch):
    for name in ("no-owner", "a/b/c", "me/x@v1", "me/x y", "../me/x", "me/.x"):
        with pytest.raises(InputError, match="is no name of a repository, which is owner/name"):
            read.push(packed, name)
    with pytest.raises(InputError, match="neither a bundle nor an adapter"):
        read.push(tmp_path, "me/x")
    with pytest.raises(InputError, match=r"cannot be pushed at .*: this machine's token may not do that"):
        read.push(packed, "other/x")
    read.push(adapter[1], "me/open")
    with pytest.raises(InputError, match="push: me/open is there already, and public"):
        read.push(adapter[1], "me/open", private=True)
    read.push(adapter[1], "me/secret", private=True)
    with pytest.raises(InputError, match=r"me/none@main: no folder here, and no repository at .* log in"):
        Bundle.open("me/none")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(InputError, match="me/secret@main: no folder here, and no repository"):
        load_adapter(make_univtg(), "me/secret")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match=r"cannot be pushed at .*: nobody is logged in"):
        read.push(adapter[1], "me/mine")
    with pytest.raises(InputError, match=r"me/open@[0-9a-f]{12}: has no config\.json"):
        Bundle.open("me/open")
    with pytest.raises(InputError, match=r"no-owner/config\.json: no such file"):
        Bundle.open("no-owner")


def test_hostile_bundles_are_refused_before_what_they_list_is_brought(hub, packed, tmp_path):
    files = {path.relative_to(packed).as_posix(): path.read_bytes() for path in packed.rglob("*") if path.is_file()}
    read.push(packed, "me/moments")
    repository = hub.repositories["me/moments"]
    config = json.loads(files["config.json"])

    def with_config(change):
        changed = json.loads(files["config.json"])
        change(changed)
        return json.dumps(changed).encode()

    outside = with_config(lambda config: config["files"].update({"../../evil.json": "0" * 64}))
    pickled = with_config(lambda config: config["files"].update({"grounding/model.pkl": "0" * 64}))
    for content, reason in (
        ({"config.json": outside}, "'../../evil.json' is no file of a bundle"),
        ({"config.json": pickled, "grounding/model.pkl": b"x"}, r"'grounding/model.pkl' is no file of a bundle"),
        ({"config.json": b"{"}, "not JSON"),
        ({"config.json": b" " * (2**25 + 1)}, "its config.json has 33554433 bytes"),
        ({"grounding/model.safetensors": b"evil"}, r"model\.safetensors: is damaged or was changed"),
    ):
        repository.commit({**files, **content})
        asked = len(hub.asked)
        with pytest.raises(InputError, match=reason):
            Bundle.open("me/moments")
        brought = [path for method, path in hub.asked[asked:] if method == "GET" and "/resolve/" in path]
        if "config.json" in content:
            assert all(path.endswith("config.json") for path in brought)
    assert not list(tmp_path.rglob("evil.json")) and not list(tmp_path.rglob("*.pkl"))
    repository.commit({**files, "pipeline.py": b"print('run')", "grounding/more.bin": b"x"})
    assert Bundle.open("me/moments").config == config
    assert not list((tmp_path / "home").rglob("pipeline.py"))


def test_a_strangers_adapter_takes_no_memory_that_its_file_does_not_have(hub, adapter):
    read.push(adapter[1], "me/mine")
    repository, model = hub.repositories["me/mine"], make_univtg()
    files = repository.commits[repository.refs["main"]]
    for change, reason in (
        ({"strategy": "lora", "options": {"rank": 10**9}}, "missing keys"),
        ({"strategy": "peft", "options": {"type": "boft"}}, "takes memory before it can be checked"),
        ({"strategy": None, "options": {"bottleneck": 10**9}}, "describes no model"),
        ({"strategy": None, "options": {"bottleneck": 10**6}}, "other shapes"),
        ({"strategy": ["read"]}, "not a name and an object of options"),
        ({"strategy": "evil"}, "no strategy 'evil'"),
    ):
        values = json.loads(files["adapter.json"]) | change
        repository.commit({**files, "adapter.json": json.dumps(values).encode()})
        with pytest.raises(InputError, match=reason):
            load_adapter(model, "me/mine")
        assert not hasattr(model, "adapters") and all(value.requires_grad for value in model.parameters())


def test_the_command(hub, adapter, capsys):
    from read.commands import main

    assert main(["push", str(adapter[1]), "me/mine", "--private"]) == 0
    assert capsys.readouterr().out == f"{hub.address}/me/mine\n" and hub.repositories["me/mine"].private
    (adapter[1] / "adapter.json").unlink()
    assert main(["push", str(adapter[1]), "me/mine"]) == 1
    assert "neither a bundle nor an adapter" in capsys.readouterr().err


def test_read_as_a_method_of_peft_goes_there_peft_s_way(hub):
    peft = pytest.importorskip("peft")
    from read.peft import ReadConfig
    from tests.adapters.conftest import make_transformer

    model, inputs = make_transformer("bert")
    model = wake(peft.get_peft_model(model, ReadConfig(bottleneck=4)), scale=0.1)
    model.push_to_hub("me/read")
    loaded = peft.PeftModel.from_pretrained(make_transformer("bert")[0], "me/read", is_trainable=True)
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
