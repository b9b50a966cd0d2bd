from read.encoders.base import trained_here

# In the order in which features are joined; a package of features stands for the encoders that made it.
ENCODERS = needed_encoders(PARAMS)
# Those that are trained on the source's videos.
LEARNED = {name for name in ENCODERS if trained_here(name, PARAMS.encoders[name])}


rule encoder:
    input:
        lambda wildcards: (
            expand(
                "data/raw/{dataset}/{file}",
                dataset=PARAMS.source,
                file=["manifest.json", "annotations.jsonl", "segments.jsonl"],
            )
            if wildcards.encoder in LEARNED
            else []
        ),
        videos=lambda wildcards: [
            folder
            for shard in SHARDS
            if wildcards.encoder in LEARNED
            for folder in videos_of(PARAMS.source, shard)
        ],
    output:
        weights="models/encoders/{encoder}/model.safetensors",
        config="models/encoders/{encoder}/config.json",
    log:
        "logs/encoder/{encoder}.log",
    benchmark:
        "benchmarks/results/encoder/{encoder}.tsv"
    wildcard_constraints:
        encoder="|".join(PARAMS.encoders),
    resources:
        mem_mb=memory,
        runtime=lambda wildcards, attempt: minutes(
            PARAMS.encoders[wildcards.encoder].get("steps", 0) / 10
        )(wildcards, attempt),
        gpu=GPUS,
    params:
        settings=lambda wildcards: settings(
            "encoders", for_encoder(PARAMS, wildcards.encoder)
        ),
        code=lambda wildcards: code_digest(
            "encoders", for_encoder(PARAMS, wildcards.encoder)
        ),
    shell:
        "python -m pipeline.stages.encoders make {wildcards.encoder} --settings {params.settings:q}"
        " --videos {input.videos} > {log} 2>&1"


rule encoders:
    input:
        encoder_files(ENCODERS),
    output:
        "models/encoders/encoders.json",
    log:
        "logs/encoders.log",
    localrule: True
    params:
        encoders=ENCODERS,
        settings=settings("encoders", PARAMS),
        code=code_digest("encoders", PARAMS),
    shell:
        "python -m pipeline.stages.encoders collect {params.encoders} --settings {params.settings:q} > {log} 2>&1"
