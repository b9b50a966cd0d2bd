rule evaluate_run:
    input:
        annotations=f"data/raw/{PARAMS.dataset}/annotations.jsonl",
        features=f"data/features/{PARAMS.dataset}/features.json",
        split=f"data/splits/{PARAMS.dataset}/k{{shots}}-s{{seed}}.json",
        backbone="models/backbone/pretrain.json",
        run=f"models/adapters/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/run.json",
    output:
        scores=f"results/runs/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/scores.json",
        predictions=f"results/runs/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/predictions.jsonl",
        plans=f"results/runs/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/plans.json",
        tensors=f"results/runs/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/plans.safetensors",
        curve=f"results/runs/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/curve.csv",
    log:
        "logs/evaluate/{strategy}/k{shots}-s{seed}.log",
    benchmark:
        "benchmarks/results/evaluate/{strategy}/k{shots}-s{seed}.tsv"
    params:
        settings=lambda wildcards: settings(
            "evaluate", PARAMS, "runs", strategy=wildcards.strategy
        ),
        code=code_digest("evaluate"),
    shell:
        "python -m pipeline.evaluate run {wildcards.strategy} --shots {wildcards.shots} --seed {wildcards.seed}"
        " --settings {params.settings:q} > {log} 2>&1"


rule references:
    input:
        annotations=f"data/raw/{PARAMS.dataset}/annotations.jsonl",
        features=f"data/features/{PARAMS.dataset}/features.json",
        split=f"data/splits/{PARAMS.dataset}/k{PARAMS.runs.shots[0]}-s{PARAMS.runs.seeds[0]}.json",
        backbone="models/backbone/pretrain.json",
    output:
        references=f"results/runs/{PARAMS.dataset}/references.json",
        zero_shot=f"results/runs/{PARAMS.dataset}/zero_shot/k0-s0/scores.json",
        predictions=f"results/runs/{PARAMS.dataset}/zero_shot/k0-s0/predictions.jsonl",
    log:
        "logs/references.log",
    benchmark:
        "benchmarks/results/references.tsv"
    params:
        settings=settings("evaluate", PARAMS, "runs", "strategies"),
        code=code_digest("evaluate"),
    shell:
        "python -m pipeline.evaluate references --split {input.split} --settings {params.settings:q} > {log} 2>&1"


rule evaluate:
    input:
        expand(
            "results/runs/{dataset}/{run}/{file}",
            dataset=PARAMS.dataset,
            run=RUNS,
            file=[
                "scores.json",
                "predictions.jsonl",
                "plans.json",
                "plans.safetensors",
                "curve.csv",
            ],
        ),
        f"results/runs/{PARAMS.dataset}/references.json",
        f"models/adapters/{PARAMS.dataset}/runs.json",
    output:
        f"results/runs/{PARAMS.dataset}/runs.json",
    log:
        "logs/evaluate.log",
    params:
        runs=[*RUNS, "zero_shot/k0-s0"],
    shell:
        "python -m pipeline.collect $(dirname {output}) {output} {params.runs} > {log} 2>&1"
