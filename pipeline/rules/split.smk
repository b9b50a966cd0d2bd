SPLITS = expand(
    "data/splits/{dataset}/{{task}}/k{shots}-s{seed}.json",
    dataset=PARAMS.dataset,
    shots=PARAMS.runs.shots,
    seed=PARAMS.runs.seeds,
)


rule split:
    input:
        labels=lambda wildcards: labels_of(wildcards.task, PARAMS.dataset),
        features=features_of(PARAMS.dataset),
        source=features_of(PARAMS.source),
    output:
        SPLITS,
        f"data/splits/{PARAMS.dataset}/{{task}}/splits.json",
    log:
        "logs/split/{task}.log",
    benchmark:
        "benchmarks/results/split/{task}.tsv"
    resources:
        mem_mb=memory,
        runtime=minutes(60),
    params:
        settings=settings("split", PARAMS),
        code=lambda wildcards: code_digest("split", PARAMS, wildcards.task),
    shell:
        "python -m pipeline.stages.split {wildcards.task} --settings {params.settings:q} > {log} 2>&1"
