rule encoder:
    input:
        manifest=f"data/raw/{PARAMS.source}/manifest.json",
        annotations=f"data/raw/{PARAMS.source}/annotations.jsonl",
    output:
        weights="models/encoders/{encoder}/model.safetensors",
        config="models/encoders/{encoder}/config.json",
    log:
        "logs/encoder/{encoder}.log",
    benchmark:
        "benchmarks/results/encoder/{encoder}.tsv"
    wildcard_constraints:
        encoder="clip|slowfast",
    resources:
        gpu=1,
    params:
        settings=settings("encoders", PARAMS),
        code=code_digest("encoders", PARAMS),
    shell:
        "python -m pipeline.stages.encoders {wildcards.encoder} --settings {params.settings:q} > {log} 2>&1"


rule encoders:
    # A package of features stands for the encoders that made it.
    input:
        encoder_files(sorted({name for names in NEEDED.values() for name in names})),
    output:
        "models/encoders/encoders.json",
    log:
        "logs/encoders.log",
    params:
        encoders=sorted({name for names in NEEDED.values() for name in names}),
        settings=settings("encoders", PARAMS),
        code=code_digest("encoders", PARAMS),
    shell:
        "python -m pipeline.stages.encoders collect {params.encoders} --settings {params.settings:q} > {log} 2>&1"
