"""Folders on the Hugging Face hub, by its own client: brought to a cache of this machine, pushed as one commit.

A place on the hub is `owner/name`, or `owner/name@revision` with a branch, a tag or a commit. Which hub, which token
and which cache are told as to any program of its: HF_ENDPOINT, HF_TOKEN or `hf auth login`, HF_HOME; nothing here sees
or writes a token.
"""

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from read.errors import InputError, optional_imports
from read.files import atomic_path, write_text

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
PLACE = re.compile(rf"(?P<name>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]*))?")
COMMIT = re.compile("[0-9a-f]{40}")
MOST = 32 * 1024**2  # bytes of the file that says what else there is
BESIDE = ("README.md", "LICENSE")  # that are brought where they are there
Wanted = Callable[[Path], Collection[str]]


def brought(source: str | Path, first: str, wanted: Wanted) -> Path:
    """A folder as it is here, or else as it is on the hub, of which it is then a copy in the cache.

    Args:
        source: a folder, which wins, or a place on the hub.
        first: the file that says what else there is.
        wanted: from the folder with `first` in it to the names of all files that are due; it checks them.

    Returns:
        The folder; a path that is no name of the hub's comes back as it is, be there a folder or not.

    Raises:
        InputError: there is no such repository or revision, it cannot be read or reached, it lacks a file that is due,
            or `wanted` refuses what `first` says.
    """
    place = PLACE.fullmatch(str(source))
    if Path(source).exists() or place is None:
        return Path(source)
    name, revision = place["name"], place["revision"] or "main"
    room = _cache() / name.replace("/", "--")
    commit, present = _listed(room, name, revision)
    folder = room / commit
    if not folder.is_dir():
        with atomic_path(folder) as draft:
            draft.mkdir()
            if present.get(first, 0) > MOST:
                raise InputError(f"{name}: its {first} has {present[first]} bytes; {MOST} are the most that are read")
            _bring(name, commit, first, present, draft)
            try:
                names = {*wanted(draft)} - {first}
            except InputError as error:
                raise InputError(str(error).replace(str(draft), f"{name}@{commit[:12]}")) from None
            for file in sorted(names | {file for file in BESIDE if file in present}):
                _bring(name, commit, file, present, draft)
    write_text(room / "refs" / f"{revision.replace('/', '--')}", commit)
    return folder


def pushed(
    folder: Path,
    name: str,
    files: Collection[str],
    *,
    private: bool = False,
    made: Mapping[str, str] | None = None,
    ours: Callable[[str], bool] = lambda file: False,
) -> str:
    """Push files of a folder as one commit, to a repository that is made where there is none.

    Args:
        folder: where they are.
        name: of the repository, `owner/name`.
        files: their names in the folder, and in the repository.
        private: none but its owner may read it.
        made: texts of further files, for those that the repository lacks.
        ours: whether a file of the repository that is not among these is one of an earlier push, to be deleted.

    Returns:
        The repository's address.

    Raises:
        InputError: the name is none, nobody is logged in or may not write there, it is to be private and is public, or
            the hub cannot be reached.
    """
    with optional_imports():
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    if not (place := PLACE.fullmatch(name)) or place["revision"]:
        raise InputError(f"push: {name!r} is no name of a repository, which is owner/name")
    api = _api()
    with _told(name, "be pushed"):
        address = str(api.create_repo(name, private=private, exist_ok=True))
        info = api.repo_info(name)
        if private and not info.private:
            raise InputError(f"push: {name} is there already, and public; make it private on the hub, or name another")
        there = {file.rfilename for file in info.siblings or ()}
        operations: list[Any] = [CommitOperationAdd(file, folder / file) for file in sorted(files)]
        new = {file: text for file, text in (made or {}).items() if file not in there}
        operations += [CommitOperationAdd(file, text.encode()) for file, text in new.items()]
        stale = sorted(file for file in there - {*files} - {*(made or {})} if ours(file))
        operations += [CommitOperationDelete(file) for file in stale]
        api.create_commit(name, operations, commit_message=f"Push {folder.resolve().name}")
    return address


def _listed(room: Path, name: str, revision: str) -> tuple[str, dict[str, int]]:
    """The commit that a revision is, and its files with their sizes; of a hub out of reach, as last seen."""
    if COMMIT.fullmatch(revision) and (room / revision).is_dir():
        return revision, {}
    try:
        with _told(f"{name}@{revision}", "be had"):
            info = _api().repo_info(name, revision=revision, files_metadata=True)
    except UnreachableError:
        seen = room / "refs" / revision.replace("/", "--")
        with suppress(OSError):
            if (room / (commit := seen.read_text())).is_dir():
                return commit, {}
        raise
    if not COMMIT.fullmatch(info.sha or ""):
        raise InputError(f"{name}: the hub tells no commit of {revision}")
    return info.sha, {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _bring(name: str, commit: str, file: str, present: Collection[str], draft: Path) -> None:
    """A file of a repository, as a file of its own: in the hub's cache it is a link."""
    if file not in present:
        raise InputError(f"{name}@{commit[:12]}: has no {file}")
    with _told(f"{name}@{commit[:12]}", "be had"):
        kept = os.path.realpath(_api().hf_hub_download(name, file, revision=commit))
    target = draft / file
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(kept, target)  # without a second copy of it
    except OSError:
        shutil.copyfile(kept, target)


class UnreachableError(InputError):
    """The hub does not answer."""


@contextmanager
def _told(what: str, wish: str) -> Iterator[None]:
    """Let the hub's errors say what a person can do."""
    with optional_imports():
        from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    try:
        yield
    except InputError:
        raise
    except errors.HFValidationError as error:
        raise InputError(f"{what}: no name of a repository ({_words(error)})") from None
    except errors.GatedRepoError:
        raise InputError(f"{what}: asks its readers to agree to its terms first, at {hub}") from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{what}: the repository has no such revision") from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{what}: no folder here, and no repository at {hub} that can be read from here; for a private one log in "
            "(hf auth login, or HF_TOKEN)"
        ) from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            reason = "this machine's token may not do that" if status == 403 else "nobody is logged in"
            raise InputError(f"{what}: cannot {wish} at {hub}: {reason} (hf auth login, or HF_TOKEN)") from None
        if status >= 500:
            raise UnreachableError(f"{what}: cannot {wish}: {hub} answers with an error ({status})") from None
        raise InputError(f"{what}: cannot {wish}: {_words(error)}") from None
    except errors.LocalTokenNotFoundError:
        raise InputError(f"{what}: cannot {wish} at {hub}: nobody is logged in (hf auth login, or HF_TOKEN)") from None
    except Exception as error:  # of the network, each client's in its own way
        raise UnreachableError(f"{what}: no folder here, and {hub} cannot be reached ({_words(error)})") from None


def _words(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _api() -> Any:
    with optional_imports():
        from huggingface_hub import HfApi

    return HfApi(library_name="read-adapters")


def _cache() -> Path:
    with optional_imports():
        from huggingface_hub import constants

    return Path(constants.HF_HOME) / "read-adapters"
