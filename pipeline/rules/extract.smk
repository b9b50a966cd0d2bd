FEATURES = expand(
    "{shard}.{suffix}", shard=[*SHARDS, "text"], suffix=["safetensors", "json"]
)
# The shards of all datasets may be extracted at once.
DECODERS = decoders(workflow, len({*DATASETS}) * len(SHARDS))


rule extract_shard:
    input:
        shard="data/raw/{dataset}/shards/{shard}.json",
        videos=videos_of("{dataset}", "{shard}"),
        encoders=lambda wildcards: encoder_files(NEEDED[wildcards.dataset]),
        package=needed_package,
    output:
        # Not removed before the job, which takes over what they hold.
        features=kept("data/features/{dataset}/{shard}.safetensors"),
        sidecar=kept("data/features/{dataset}/{shard}.json"),
    log:
        "logs/extract/{dataset}/{shard}.log",
    benchmark:
        "benchmarks/results/extract/{dataset}/{shard}.tsv"
    group:
        in_group if STORED else None
    threads: DECODERS
    resources:
        mem_mb=shard_memory,
        runtime=shard_minutes,
        gpu=GPUS,
    params:
        encoders=lambda wildcards: NEEDED[wildcards.dataset],
        settings=settings("extract", PARAMS),
        code=code_for_dataset("extract"),
    shell:
        "python -m pipeline.stages.extract shard {wildcards.dataset} {wildcards.shard}"
        " --code {params.code} --encoders {params.encoders} --settings {params.settings:q}"
        " --videos {input.videos} > {log} 2>&1"


rule extract_text:
    input:
        annotations="data/raw/{dataset}/annotations.jsonl",
        encoders=lambda wildcards: encoder_files(NEEDED[wildcards.dataset]),
        package=lambda wildcards: (
            [
                f"data/raw/{wildcards.dataset}/manifest.json",
                *lists_of(wildcards.dataset),
                *needed_package(wildcards),
            ]
            if wildcards.dataset in PACKAGED
            else []
        ),
    output:
        features="data/features/{dataset}/text.safetensors",
        sidecar="data/features/{dataset}/text.json",
        words="data/features/{dataset}/words.json",
    log:
        "logs/extract/{dataset}/text.log",
    benchmark:
        "benchmarks/results/extract/{dataset}/text.tsv"
    resources:
        mem_mb=memory,
        runtime=minutes(60),
        gpu=GPUS,
    params:
        encoders=lambda wildcards: NEEDED[wildcards.dataset],
        settings=settings("extract", PARAMS),
        code=code_for_dataset("extract"),
    shell:
        "python -m pipeline.stages.extract text {wildcards.dataset} --encoders {params.encoders}"
        " --settings {params.settings:q} > {log} 2>&1"


rule extract:
    input:
        features=expand("data/features/{{dataset}}/{file}", file=FEATURES),
        lists=lambda wildcards: lists_of(wildcards.dataset),
        annotations="data/raw/{dataset}/annotations.jsonl",
        manifest="data/raw/{dataset}/manifest.json",
    output:
        "data/features/{dataset}/features.json",
    log:
        "logs/extract/{dataset}.log",
    localrule: True
    params:
        settings=settings("extract", PARAMS),
        code=code_for_dataset("extract"),
    shell:
        "python -m pipeline.stages.extract collect {wildcards.dataset} --settings {params.settings:q} > {log} 2>&1"
