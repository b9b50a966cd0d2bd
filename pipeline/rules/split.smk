rule split:
    input:
        annotations=f"data/raw/{PARAMS.dataset}/annotations.jsonl",
        features=f"data/features/{PARAMS.dataset}/features.json",
    output:
        expand(
            "data/splits/{dataset}/k{shots}-s{seed}.json",
            dataset=PARAMS.dataset,
            shots=PARAMS.runs.shots,
            seed=PARAMS.runs.seeds,
        ),
        f"data/splits/{PARAMS.dataset}/splits.json",
    log:
        "logs/split.log",
    benchmark:
        "benchmarks/results/split.tsv"
    params:
        settings=settings("split", PARAMS),
        code=code_digest("split"),
    shell:
        "python -m pipeline.split --settings {params.settings:q} > {log} 2>&1"
