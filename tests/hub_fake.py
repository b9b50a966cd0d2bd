"""A hub on this machine, of the part of its HTTP interface that pushing and bringing take, with its errors."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

TOKENS = {"hf_me": "me", "hf_other": "other"}  # and whose they are


@dataclass
class Repository:
    """Its commits, oldest first: each all files of it; and the branches and tags."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        told = json.dumps(
            [len(self.commits), *((name, hashlib.sha256(files[name]).hexdigest()) for name in sorted(files))]
        )
        name = hashlib.sha1(told.encode()).hexdigest()
        self.commits[name], self.refs[ref] = files, name
        return name


@dataclass
class Hub:
    """What it holds, and what it was asked: method and path of every request."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    broken: bool = False


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def answer(self, status: int, body: Any = None, code: str = "", **headers: str) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
            self.send_response(status)
            told = {"Content-Length": str(len(content)), "X-Error-Code": code} | headers
            for name, value in told.items():
                if value:
                    self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do(self) -> None:
            path = unquote(self.path.partition("?")[0])
            hub.asked.append((self.command, path))
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.who = TOKENS.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
            if hub.broken:
                return self.answer(503)
            for method, pattern, act in ROUTES:
                if self.command == method and (found := re.fullmatch(pattern, path)):
                    return act(self, **found.groupdict())
            return self.answer(404)

        do_GET = do_HEAD = do_POST = do_PUT = do  # noqa: N815

        def repository(self, name: str, write: bool = False) -> Repository | None:
            there = hub.repositories.get(name)
            if there is None or (there.private and self.who != name.partition("/")[0]):
                self.answer(404 if self.who else 401, {"error": "Repository not found"}, "RepoNotFound")
            elif write and self.who != name.partition("/")[0]:
                self.answer(403 if self.who else 401, {"error": "no"})
            else:
                return there
            return None

        def files(self, there: Repository, revision: str) -> dict[str, bytes] | None:
            commit = there.refs.get(revision, revision)
            if commit not in there.commits:
                self.answer(404, {"error": "no revision"}, "RevisionNotFound")
            return there.commits.get(commit)

        def create(self) -> None:
            asked = json.loads(self.body)
            owner = asked.get("organization") or self.who
            name = f"{owner}/{asked['name']}"
            if self.who is None:
                return self.answer(401, {"error": "Unauthorized"})
            if self.who != owner:
                return self.answer(403, {"error": "You don't have the rights"})
            there = name in hub.repositories
            if not there:
                private = (
                    asked.get("private") or asked.get("visibility") == "private"
                )  # as versions of the client say it
                hub.repositories[name] = Repository(bool(private))
                hub.repositories[name].commit({".gitattributes": b"*.safetensors filter=lfs\n"})
            return self.answer(409 if there else 200, {"url": f"{hub.address}/{name}", "id": name})

        def info(self, name: str, revision: str | None = None) -> None:
            if (there := self.repository(name)) and (files := self.files(there, revision or "main")) is not None:
                sha = there.refs.get(revision or "main", revision)
                siblings = [{"rfilename": file, "size": len(content)} for file, content in files.items()]
                self.answer(200, {"id": name, "sha": sha, "private": there.private, "siblings": siblings})

        def preupload(self, name: str) -> None:
            if self.repository(name, write=True):
                modes = [
                    {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                     "shouldIgnore": False, "oid": None}
                    for file in json.loads(self.body)["files"]
                ]  # fmt: skip
                self.answer(200, {"files": modes})

        def batch(self, name: str) -> None:
            if self.repository(name, write=True):
                objects = [
                    {"oid": one["oid"], "size": one["size"],
                     "actions": {"upload": {"href": f"{hub.address}/lfs/{one['oid']}", "header": {}}}}
                    for one in json.loads(self.body)["objects"]
                ]  # fmt: skip
                self.answer(200, {"transfer": "basic", "objects": objects})

        def upload(self, oid: str) -> None:
            right = hashlib.sha256(self.body).hexdigest() == oid
            hub.large[oid] = self.body
            self.answer(200 if right else 400)

        def commit(self, name: str) -> None:
            if not (there := self.repository(name, write=True)):
                return
            files = dict(there.commits[there.refs["main"]])
            for line in self.body.splitlines():
                key, value = (part := json.loads(line))["key"], part["value"]
                if key == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif key == "lfsFile":
                    files[value["path"]] = hub.large[value["oid"]]
                elif key == "deletedFile":
                    del files[value["path"]]
            sha = there.commit(files)
            self.answer(200, {"commitUrl": f"{hub.address}/{name}/commit/{sha}", "commitOid": sha})

        def resolve(self, name: str, revision: str, file: str) -> None:
            if (there := self.repository(name)) and (files := self.files(there, revision)) is not None:
                mark = hashlib.sha256(files.get(file, b"")).hexdigest()
                commit = there.refs.get(revision, revision)
                if file in files:
                    self.answer(200, files[file], ETag=f'"{mark}"', X_Repo_Commit=commit)
                else:
                    self.answer(404, {"error": "no entry"}, "EntryNotFound")

        def yaml(self) -> None:
            self.answer(200, {"errors": [], "warnings": []})

    name = r"(?P<name>[^/]+/[^/]+)"
    ROUTES = [
        ("POST", "/api/repos/create", Handler.create),
        ("POST", "/api/validate-yaml", Handler.yaml),
        ("GET", rf"/api/models/{name}(/revision/(?P<revision>.+))?", Handler.info),
        ("POST", rf"/api/models/{name}/preupload/main", Handler.preupload),
        ("POST", rf"/{name}\.git/info/lfs/objects/batch", Handler.batch),
        ("PUT", r"/lfs/(?P<oid>\w+)", Handler.upload),
        ("POST", rf"/api/models/{name}/commit/main", Handler.commit),
        ("GET", rf"/{name}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", Handler.resolve),
        ("HEAD", rf"/{name}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", Handler.resolve),
    ]
    return Handler


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers on loopback until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
