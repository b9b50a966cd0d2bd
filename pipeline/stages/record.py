"""Record a complete run in dvc.lock, so that DVC knows the content of every artifact."""

import subprocess
import sys

from pipeline.cli import run
from pipeline.code import all_digests
from pipeline.engine import adopt, dvc, records
from pipeline.engine.confirm import confirm
from pipeline.params import load_params
from pipeline.paths import raw
from read.errors import InputError
from read.files import read_json

SHOWN = 10  # files named in a message


def main() -> None:
    """Commit all stages as they stand; called by the last rule of a complete run, and only there."""
    confirm()
    check_complete()
    with dvc.keeping_lock():
        done = subprocess.run([sys.executable, "-m", "dvc", "commit", "--force", "--no-relink"])
        if done.returncode:
            raise InputError("dvc commit failed, see above; the results are complete: run again to record them")
    records.mark_recorded()


def check_complete() -> None:
    """Check that no folder lacks files that nobody took out on purpose.

    Raises:
        InputError: a video of a manifest is gone, or a file of a stage whose params, code and inputs are as recorded.
    """
    params = load_params()
    gone = [
        raw(dataset) / "videos" / entry["file"]
        for dataset in dict.fromkeys((params.dataset, params.source))
        for entry in read_json(raw(dataset) / "manifest.json")["videos"].values()
        if not (raw(dataset) / "videos" / entry["file"]).is_file()
    ]
    stages, changed, code = dvc.locked_stages(), dvc.changes(), all_digests(params)
    for name, stage in stages.items():
        if name in changed and adopt.is_same(name, stages, changed, code):
            listed = [dvc.files_of(out, digest) or {} for out, digest in stage.outs.items()]
            gone += [path for files in listed for path in files if not path.exists()]
    if gone:
        lines = [f"  {path}" for path in dict.fromkeys(gone)]
        raise InputError(
            f"not recorded: {len(lines)} files are gone, though nothing that they depend on changed. Bring them back "
            "with `dvc checkout`, or remove the folder they were in, and run again:\n" + "\n".join(lines[:SHOWN])
        )


if __name__ == "__main__":
    run(main)
