# dvc.lock may come with the checkout while the artifacts do not: `rule all` asks for each of them.
ARTIFACTS = [
    *expand("data/raw/{dataset}/manifest.json", dataset=DATASETS),
    *expand("data/raw/{dataset}/shards/{shard}.json", dataset=DATASETS, shard=SHARDS),
    *expand("data/features/{dataset}/features.json", dataset=DATASETS),
    *expand(
        "data/features/{dataset}/{shard}.safetensors",
        dataset=DATASETS,
        shard=[*SHARDS, "text"],
    ),
    "models/encoders/encoders.json",
    "models/backbone/pretrain.json",
    f"data/splits/{PARAMS.dataset}/splits.json",
    f"models/adapters/{PARAMS.dataset}/runs.json",
    *expand(
        "models/adapters/{dataset}/{run}/adapter.safetensors",
        dataset=PARAMS.dataset,
        run=RUNS,
    ),
    f"results/runs/{PARAMS.dataset}/runs.json",
    *expand(
        "results/runs/{dataset}/{run}/scores.json", dataset=PARAMS.dataset, run=RUNS
    ),
    "results/report/index.html",
]


rule record:
    input:
        ARTIFACTS,
        "dvc.yaml",
    output:
        update("dvc.lock"),
    log:
        "logs/record.log",
    shell:
        "python -m pipeline.record > {log} 2>&1"
