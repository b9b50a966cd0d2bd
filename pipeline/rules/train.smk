RUNS = expand(
    "{strategy}/k{shots}-s{seed}",
    strategy=PARAMS.strategies,
    shots=PARAMS.runs.shots,
    seed=PARAMS.runs.seeds,
)
RUN = f"{PARAMS.dataset}/{{task}}/{{strategy}}/k{{shots}}-s{{seed}}"
OF_STRATEGY = expand(
    RUN, shots=PARAMS.runs.shots, seed=PARAMS.runs.seeds, allow_missing=True
)
ADAPTER = ["adapter.safetensors", "adapter.json", "curve.csv", "run.json"]
PROCESSES = {
    strategy: processes_of(PARAMS.machine, method_of(strategy, options)[0])
    for strategy, options in PARAMS.strategies.items()
}


rule train_run:
    input:
        labels=lambda wildcards: labels_of(wildcards.task, PARAMS.dataset),
        dataset=f"data/raw/{PARAMS.dataset}/dataset.json",
        features=features_of(PARAMS.dataset),
        split=f"data/splits/{PARAMS.dataset}/{{task}}/k{{shots}}-s{{seed}}.json",
        backbone=lambda wildcards: backbone_of(wildcards.task),
    output:
        weights=f"models/adapters/{RUN}/adapter.safetensors",
        config=f"models/adapters/{RUN}/adapter.json",
        curve=f"models/adapters/{RUN}/curve.csv",
        run=f"models/adapters/{RUN}/run.json",
        loss=f"results/curves/{RUN}/loss.tsv",
        val_score=f"results/curves/{RUN}/val_score.tsv",
    log:
        "logs/train/{task}/{strategy}/k{shots}-s{seed}.log",
    benchmark:
        "benchmarks/results/train/{task}/{strategy}/k{shots}-s{seed}.tsv"
    threads: lambda wildcards: PROCESSES[wildcards.strategy]
    resources:
        mem_mb=lambda wildcards, input, attempt: of_processes(
            memory, PROCESSES[wildcards.strategy]
        )(wildcards, input, attempt),
        runtime=lambda wildcards, attempt: training_minutes(
            PARAMS, wildcards.task, "train"
        )(wildcards, attempt),
        gpu=lambda wildcards: GPUS and GPUS * PROCESSES[wildcards.strategy],
    params:
        settings=lambda wildcards: settings(
            "train",
            PARAMS,
            "runs",
            task=wildcards.task,
            strategy=wildcards.strategy,
        ),
        code=lambda wildcards: code_digest(
            "train", PARAMS, wildcards.task, wildcards.strategy
        ),
    shell:
        "python -m pipeline.stages.train {wildcards.task} {wildcards.strategy} --shots {wildcards.shots}"
        " --seed {wildcards.seed} --settings {params.settings:q} > {log} 2>&1"


rule train:
    input:
        expand(
            "models/adapters/{dataset}/{{task}}/{run}/{file}",
            dataset=PARAMS.dataset,
            run=RUNS,
            file=ADAPTER,
        ),
    output:
        f"models/adapters/{PARAMS.dataset}/{{task}}/runs.json",
    log:
        "logs/train/{task}.log",
    localrule: True
    params:
        runs=RUNS,
        curves=f"results/curves/{PARAMS.dataset}/{{task}}",
    shell:
        "python -m pipeline.stages.collect $(dirname {output}) {output} {params.runs} --also {params.curves} > {log} 2>&1"
