# Published features, had once for all shards. In a file system each shard's job gets them if no other did.
if STORED:

    rule package:
        input:
            lambda wildcards: [
                local(str(file)) for file in CARDS[wildcards.dataset].files
            ],
        output:
            package_of("{dataset}"),
        log:
            "logs/package/{dataset}.log",
        resources:
            mem_mb=memory,
            runtime=minutes(24 * 60),
        params:
            settings=settings("download", PARAMS, "download.shards"),
            code=code_for_dataset("download"),
        shell:
            "python -m pipeline.stages.download package {wildcards.dataset}"
            " --settings {params.settings:q} > {log} 2>&1"
