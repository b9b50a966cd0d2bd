# What belongs to a pretrained model: what the map into the joint space is fitted to of the source, or the tokenizer.
BESIDE = {
    "grounding": ["joint.safetensors"],
    "summarization": [
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    ],
}


for task in PARAMS.task:

    rule:
        name:
            f"pretrain_{task}"
        input:
            labels=labels_of(task, PARAMS.source),
            dataset=f"data/raw/{PARAMS.source}/dataset.json",
            segments=f"data/raw/{PARAMS.source}/segments.jsonl",
            features=features_of(PARAMS.source),
        output:
            backbone_of(task),
            curve=f"models/backbone/{task}/curve.csv",
        log:
            f"logs/pretrain/{task}.log",
        benchmark:
            f"benchmarks/results/pretrain/{task}.tsv"
        threads: PARAMS.machine.processes
        resources:
            mem_mb=of_processes(memory, PARAMS.machine.processes),
            runtime=training_minutes(PARAMS, task, "pretrain"),
            gpu=GPUS and GPUS * PARAMS.machine.processes,
        params:
            task=task,
            settings=settings("pretrain", PARAMS, task=task),
            own="--own-source" if PARAMS.own_source else "",
            code=code_digest("pretrain", PARAMS, task),
        shell:
            "python -m pipeline.stages.pretrain {params.task} --settings {params.settings:q} {params.own} > {log} 2>&1"
