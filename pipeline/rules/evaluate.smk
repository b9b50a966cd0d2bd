SCORED = ["scores.json", "predictions.jsonl", "attention.json", "attention.safetensors"]
# Runs of the map that is fitted in closed form, where pictures and sentences have one space.
MAPS = expand("map/k{shots}-s{seed}", shots=PARAMS.runs.shots, seed=PARAMS.runs.seeds)
MAPPED = (
    CARDS[PARAMS.dataset].joint(
        PARAMS.features, PARAMS.encoders, PARAMS.extract.normalise
    )
    is not None
)
UNTRAINED_RUNS = {
    task: ["zero_shot/k0-s0", *(MAPS if MAPPED and task == "grounding" else [])]
    for task in PARAMS.task
}


# One job for all runs of a strategy: to start a process takes longer than to evaluate a run.
rule evaluate_runs:
    input:
        labels=lambda wildcards: labels_of(wildcards.task, PARAMS.dataset),
        dataset=f"data/raw/{PARAMS.dataset}/dataset.json",
        features=features_of(PARAMS.dataset),
        splits=SPLITS,
        backbone=lambda wildcards: backbone_of(wildcards.task),
        runs=expand("models/adapters/{run}/{file}", run=OF_STRATEGY, file=ADAPTER),
    output:
        expand(
            "results/runs/{run}/{file}",
            run=OF_STRATEGY,
            file=[*SCORED, "curve.csv"],
        ),
    log:
        "logs/evaluate/{task}/{strategy}.log",
    benchmark:
        "benchmarks/results/evaluate/{task}/{strategy}.tsv"
    resources:
        mem_mb=memory,
        runtime=minutes(10 * len(RUNS)),
        gpu=GPUS,
    params:
        settings=lambda wildcards: settings(
            "evaluate", PARAMS, task=wildcards.task, strategy=wildcards.strategy
        ),
        code=lambda wildcards: code_digest(
            "evaluate", PARAMS, wildcards.task, wildcards.strategy
        ),
    shell:
        "python -m pipeline.stages.evaluate {wildcards.task} {wildcards.strategy}"
        " --settings {params.settings:q} > {log} 2>&1"


rule references:
    input:
        labels=lambda wildcards: labels_of(wildcards.task, PARAMS.dataset),
        dataset=f"data/raw/{PARAMS.dataset}/dataset.json",
        features=features_of(PARAMS.dataset),
        splits=SPLITS,
        backbone=lambda wildcards: backbone_of(wildcards.task),
    output:
        f"results/runs/{PARAMS.dataset}/{{task}}/references.json",
        f"results/runs/{PARAMS.dataset}/{{task}}/source.json",
        expand(
            "results/runs/{dataset}/{{task}}/zero_shot/k0-s0/{file}",
            dataset=PARAMS.dataset,
            file=SCORED,
        ),
    log:
        "logs/references/{task}.log",
    benchmark:
        "benchmarks/results/references/{task}.tsv"
    resources:
        mem_mb=memory,
        runtime=minutes(60),
        gpu=GPUS,
    params:
        settings=lambda wildcards: settings(
            "evaluate", PARAMS, "strategies", task=wildcards.task
        ),
        code=lambda wildcards: code_digest("evaluate", PARAMS, wildcards.task),
    shell:
        "python -m pipeline.stages.evaluate {wildcards.task} --settings {params.settings:q} > {log} 2>&1"


rule linear_map:
    input:
        labels=f"data/raw/{PARAMS.dataset}/{LABELS['grounding']}",
        dataset=f"data/raw/{PARAMS.dataset}/dataset.json",
        features=features_of(PARAMS.dataset),
        splits=expand(SPLITS, task="grounding"),
        backbone=backbone_of("grounding"),
    output:
        expand(
            "results/runs/{dataset}/grounding/{run}/{file}",
            dataset=PARAMS.dataset,
            run=MAPS,
            file=SCORED,
        ),
    log:
        "logs/linear_map.log",
    benchmark:
        "benchmarks/results/linear_map.tsv"
    resources:
        mem_mb=memory,
        runtime=minutes(60),
        gpu=GPUS,
    params:
        settings=settings("evaluate", PARAMS, "strategies", task="grounding"),
        code=code_digest("evaluate", PARAMS, "grounding"),
    shell:
        "python -m pipeline.stages.evaluate grounding map --settings {params.settings:q} > {log} 2>&1"


rule evaluate:
    input:
        lambda wildcards: [
            f"results/runs/{PARAMS.dataset}/{wildcards.task}/{run}/{file}"
            for run, files in scored(wildcards.task)
            for file in files
        ],
        f"results/runs/{PARAMS.dataset}/{{task}}/references.json",
        f"results/runs/{PARAMS.dataset}/{{task}}/source.json",
        f"models/adapters/{PARAMS.dataset}/{{task}}/runs.json",
    output:
        f"results/runs/{PARAMS.dataset}/{{task}}/runs.json",
    log:
        "logs/evaluate/{task}.log",
    localrule: True
    params:
        runs=lambda wildcards: [*RUNS, *UNTRAINED_RUNS[wildcards.task]],
    shell:
        "python -m pipeline.stages.collect $(dirname {output}) {output} {params.runs} > {log} 2>&1"
