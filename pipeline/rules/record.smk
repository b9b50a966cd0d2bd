# All that there is to make, whatever came with the checkout: each output of each rule above.
ARTIFACTS = all_outputs(
    workflow,
    {
        "dataset": DATASETS,
        "shard": SHARDS,
        "task": PARAMS.task,
        "strategy": PARAMS.strategies,
        "shots": PARAMS.runs.shots,
        "seed": PARAMS.runs.seeds,
        "encoder": sorted({name for names in NEEDED.values() for name in names}),
    },
)
TARGETS = Targets(workflow, ARTIFACTS, last=[RECORDED] if RECORDS else [])


# Its output says which state of the artifacts dvc.lock has; dvc.lock itself may come with a checkout.
rule record:
    input:
        ARTIFACTS,
        "dvc.yaml",
    output:
        RECORDED,
    log:
        "logs/record.log",
    localrule: True
    shell:
        "python -m pipeline.stages.record > {log} 2>&1"
