RUNS = expand(
    "{strategy}/k{shots}-s{seed}",
    strategy=PARAMS.strategies,
    shots=PARAMS.runs.shots,
    seed=PARAMS.runs.seeds,
)


rule train_run:
    input:
        annotations=f"data/raw/{PARAMS.dataset}/annotations.jsonl",
        features=f"data/features/{PARAMS.dataset}/features.json",
        split=f"data/splits/{PARAMS.dataset}/k{{shots}}-s{{seed}}.json",
        backbone="models/backbone/pretrain.json",
    output:
        weights=f"models/adapters/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/adapter.safetensors",
        config=f"models/adapters/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/adapter.json",
        curve=f"models/adapters/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/curve.csv",
        plots=expand(
            f"results/curves/{PARAMS.dataset}/{{{{strategy}}}}/k{{{{shots}}}}-s{{{{seed}}}}/{{metric}}.tsv",
            metric=["loss", "val_score"],
        ),
        run=f"models/adapters/{PARAMS.dataset}/{{strategy}}/k{{shots}}-s{{seed}}/run.json",
    log:
        "logs/train/{strategy}/k{shots}-s{seed}.log",
    benchmark:
        "benchmarks/results/train/{strategy}/k{shots}-s{seed}.tsv"
    resources:
        gpu=1,
    params:
        settings=lambda wildcards: settings(
            "train", PARAMS, "runs", strategy=wildcards.strategy
        ),
        code=code_digest("train"),
    shell:
        "python -m pipeline.train {wildcards.strategy} --shots {wildcards.shots} --seed {wildcards.seed}"
        " --settings {params.settings:q} > {log} 2>&1"


rule train:
    input:
        expand(
            "models/adapters/{dataset}/{run}/{file}",
            dataset=PARAMS.dataset,
            run=RUNS,
            file=["adapter.safetensors", "adapter.json", "curve.csv", "run.json"],
        ),
    output:
        f"models/adapters/{PARAMS.dataset}/runs.json",
    log:
        "logs/train.log",
    params:
        runs=RUNS,
        curves=f"results/curves/{PARAMS.dataset}",
    shell:
        "python -m pipeline.collect $(dirname {output}) {output} {params.runs} --also {params.curves} > {log} 2>&1"
