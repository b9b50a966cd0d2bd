"""From raw video to a report: the table of contents. dvc.yaml says what each stage depends on."""

import os

from pipeline.strict_yaml import read_yaml
from snakemake.exceptions import WorkflowError

try:
    read_yaml("params.yaml")  # Snakemake's own reading takes the last of two equal keys
except ValueError as error:
    raise WorkflowError(str(error)) from None


configfile: "params.yaml"


# With `--software-deployment-method apptainer`: what the Dockerfile builds, as a file or docker://...
container: os.environ.get("READ_IMAGE", "read.sif")


include: "pipeline/rules/common.smk"
include: "pipeline/rules/files.smk"
include: "pipeline/rules/download.smk"
include: "pipeline/rules/encoders.smk"
include: "pipeline/rules/extract.smk"
include: "pipeline/rules/transcribe.smk"
include: "pipeline/rules/split.smk"
include: "pipeline/rules/pretrain.smk"
include: "pipeline/rules/train.smk"
include: "pipeline/rules/evaluate.smk"
include: "pipeline/rules/report.smk"
include: "pipeline/rules/record.smk"
include: "pipeline/rules/package.smk"
include: "pipeline/rules/export.smk"


rule all:
    default_target: True
    input:
        TARGETS,
    localrule: True


onsuccess:
    show_results(workflow)
    confirm_stage(TARGETS.folders)
