SCORED = ["scores.json", "predictions.jsonl", "looks.json", "looks.safetensors"]


rule evaluate_run:
    input:
        labels=lambda wildcards: f"data/raw/{PARAMS.dataset}/{LABELS[wildcards.task]}",
        features=f"data/features/{PARAMS.dataset}/features.json",
        split=f"data/splits/{PARAMS.dataset}/{{task}}/k{{shots}}-s{{seed}}.json",
        backbone="models/backbone/{task}/pretrain.json",
        run=f"models/adapters/{RUN}/run.json",
    output:
        expand("results/runs/{run}/{file}", run=RUN, file=[*SCORED, "curve.csv"]),
    log:
        "logs/evaluate/{task}/{strategy}/k{shots}-s{seed}.log",
    benchmark:
        "benchmarks/results/evaluate/{task}/{strategy}/k{shots}-s{seed}.tsv"
    params:
        settings=lambda wildcards: settings(
            "evaluate",
            PARAMS,
            "runs",
            task=wildcards.task,
            strategy=wildcards.strategy,
        ),
        code=lambda wildcards: code_digest("evaluate", wildcards.task),
    shell:
        "python -m pipeline.evaluate {wildcards.task} {wildcards.strategy} --shots {wildcards.shots}"
        " --seed {wildcards.seed} --settings {params.settings:q} > {log} 2>&1"


rule references:
    input:
        labels=lambda wildcards: f"data/raw/{PARAMS.dataset}/{LABELS[wildcards.task]}",
        features=f"data/features/{PARAMS.dataset}/features.json",
        split=f"data/splits/{PARAMS.dataset}/{{task}}/k{PARAMS.runs.shots[0]}-s{PARAMS.runs.seeds[0]}.json",
        backbone="models/backbone/{task}/pretrain.json",
    output:
        f"results/runs/{PARAMS.dataset}/{{task}}/references.json",
        expand(
            "results/runs/{dataset}/{{task}}/zero_shot/k0-s0/{file}",
            dataset=PARAMS.dataset,
            file=SCORED,
        ),
    log:
        "logs/references/{task}.log",
    benchmark:
        "benchmarks/results/references/{task}.tsv"
    params:
        settings=lambda wildcards: settings(
            "evaluate", PARAMS, "runs", "strategies", task=wildcards.task
        ),
        code=lambda wildcards: code_digest("evaluate", wildcards.task),
    shell:
        "python -m pipeline.evaluate {wildcards.task} --split {input.split}"
        " --settings {params.settings:q} > {log} 2>&1"


rule evaluate:
    input:
        expand(
            "results/runs/{dataset}/{{task}}/{run}/{file}",
            dataset=PARAMS.dataset,
            run=RUNS,
            file=[*SCORED, "curve.csv"],
        ),
        f"results/runs/{PARAMS.dataset}/{{task}}/references.json",
        f"models/adapters/{PARAMS.dataset}/{{task}}/runs.json",
    output:
        f"results/runs/{PARAMS.dataset}/{{task}}/runs.json",
    log:
        "logs/evaluate/{task}.log",
    params:
        runs=[*RUNS, "zero_shot/k0-s0"],
    shell:
        "python -m pipeline.collect $(dirname {output}) {output} {params.runs} > {log} 2>&1"
