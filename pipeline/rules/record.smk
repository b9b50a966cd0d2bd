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
    *expand("models/backbone/{task}/pretrain.json", task=PARAMS.task),
    *expand(
        "data/splits/{dataset}/{task}/splits.json",
        dataset=PARAMS.dataset,
        task=PARAMS.task,
    ),
    *expand(
        "models/adapters/{dataset}/{task}/{run}",
        dataset=PARAMS.dataset,
        task=PARAMS.task,
        run=["runs.json", *expand("{run}/adapter.safetensors", run=RUNS)],
    ),
    *expand(
        "results/runs/{dataset}/{task}/{run}",
        dataset=PARAMS.dataset,
        task=PARAMS.task,
        run=["runs.json", *expand("{run}/scores.json", run=RUNS)],
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
        "python -m pipeline.stages.record > {log} 2>&1"
