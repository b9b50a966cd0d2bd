rule pretrain:
    input:
        annotations=f"data/raw/{PARAMS.source}/annotations.jsonl",
        features=f"data/features/{PARAMS.source}/features.json",
    output:
        weights="models/backbone/model.safetensors",
        config="models/backbone/config.json",
        curve="models/backbone/curve.csv",
        summary="models/backbone/pretrain.json",
    log:
        "logs/pretrain.log",
    benchmark:
        "benchmarks/results/pretrain.tsv"
    resources:
        gpu=1,
    params:
        settings=settings("pretrain", PARAMS),
        code=code_digest("pretrain"),
    shell:
        "python -m pipeline.pretrain --settings {params.settings:q} > {log} 2>&1"
