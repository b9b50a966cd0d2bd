"""An executor of Snakemake's whose jobs each run in an empty folder, as on a node that shares no files with others."""

import os
import subprocess
import tempfile
from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=True,
    job_deploy_sources=True,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)
NODES = "NODES"  # in the environment: the folder in which these folders are
KNOWN = ("PATH", "HOME", "OMP_NUM_THREADS")  # of the environment, on a node


class Executor(RemoteExecutor):
    """See above."""

    def run_job(self, job):
        node = Path(tempfile.mkdtemp(dir=os.environ[NODES]))
        environment = {key: os.environ[key] for key in KNOWN if key in os.environ} | self.envvars()
        with (node / "log").open("w") as log:
            command = ["bash", "-c", self.format_job_exec(job)]
            process = subprocess.Popen(command, cwd=node, env=environment, stdout=log, stderr=log)
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=node.name, aux={"process": process}))

    async def check_active_jobs(self, active_jobs):
        for info in active_jobs:
            match info.aux["process"].poll():
                case None:
                    yield info
                case 0:
                    self.report_job_success(info)
                case status:
                    self.report_job_error(info, msg=f"it ended with {status}")

    def cancel_jobs(self, active_jobs):
        for info in active_jobs:
            info.aux["process"].kill()
