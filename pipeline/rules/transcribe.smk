# Without a model nobody listens, and the list is empty.
HEARS = PARAMS.transcribe.model is not None


if HEARS:

    rule transcribe_shard:
        input:
            shard="data/raw/{dataset}/shards/{shard}.json",
            summaries="data/raw/{dataset}/summaries.jsonl",
            videos=videos_of("{dataset}", "{shard}"),
        output:
            # Not removed before the job, which takes over what it holds.
            kept("data/transcripts/{dataset}/{shard}.jsonl"),
        log:
            "logs/transcribe/{dataset}/{shard}.log",
        benchmark:
            "benchmarks/results/transcribe/{dataset}/{shard}.tsv"
        group:
            in_group
        threads: DECODERS
        resources:
            mem_mb=listening_memory,
            runtime=listening_minutes,
            gpu=GPUS,
        params:
            settings=settings("transcribe", PARAMS),
            code=code_digest("transcribe", PARAMS),
        shell:
            "python -m pipeline.stages.transcribe shard {wildcards.dataset} {wildcards.shard} --code {params.code}"
            " --settings {params.settings:q} --videos {input.videos} > {log} 2>&1"


rule transcribe:
    input:
        lambda wildcards: lists_of(wildcards.dataset),
        "data/raw/{dataset}/summaries.jsonl",
        lambda wildcards: (
            expand(
                "data/transcripts/{dataset}/{shard}.jsonl",
                dataset=wildcards.dataset,
                shard=SHARDS,
            )
            if HEARS
            else []
        ),
    output:
        heard_of("{dataset}"),
        # For people and their players, and so not in storage.
        subtitles=([] if STORED else directory("data/transcripts/{dataset}/subtitles")),
    log:
        "logs/transcribe/{dataset}.log",
    localrule: True
    params:
        settings=settings("transcribe", PARAMS),
        code=code_digest("transcribe", PARAMS),
    shell:
        "python -m pipeline.stages.transcribe collect {wildcards.dataset} --settings {params.settings:q} > {log} 2>&1"
