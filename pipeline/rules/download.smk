from pipeline.card import load_card
from pipeline.sources.shards import planned_digests, shard_ids, within_tolerance

DATASETS = [PARAMS.dataset, PARAMS.source]
SHARDS = shard_ids(PARAMS.download.shards)
try:
    CARDS = {dataset: load_card(dataset) for dataset in DATASETS}
    DIGESTS = {
        dataset: planned_digests(
            dataset,
            PARAMS.download.shards,
            code_digest("download", PARAMS, dataset=dataset),
            keep=not workflow.output_settings.dryrun,
        )
        for dataset in DATASETS
    }
    NEEDED = {
        dataset: card.encoders(PARAMS.features, PARAMS.encoders)
        for dataset, card in CARDS.items()
    }
except ValueError as error:
    raise WorkflowError(str(error)) from None
if PARAMS.features == "package" and not any(card.features for card in CARDS.values()):
    raise WorkflowError(
        f"params.yaml: features: package, but neither {PARAMS.dataset}'s card nor {PARAMS.source}'s names one"
    )
PACKAGED = [
    dataset
    for dataset, card in CARDS.items()
    if PARAMS.features == "package" and card.features
]


rule annotations:
    input:
        card=lambda wildcards: [
            local(str(file)) for file in CARDS[wildcards.dataset].files
        ],
    output:
        annotations="data/raw/{dataset}/annotations.jsonl",
        segments="data/raw/{dataset}/segments.jsonl",
        summaries="data/raw/{dataset}/summaries.jsonl",
        pieces="data/raw/{dataset}/pieces.jsonl",
        dataset="data/raw/{dataset}/dataset.json",
    log:
        "logs/annotations/{dataset}.log",
    resources:
        mem_mb=memory,
        runtime=minutes(),
    params:
        settings=settings("download", PARAMS, "download.shards"),
        code=code_for_dataset("download"),
    shell:
        "python -m pipeline.stages.download annotations {wildcards.dataset} --settings {params.settings:q} > {log} 2>&1"


rule download_shard:
    # Annotations that lie beside the card are no input: by `params.videos` a new one touches its shard only. As an
    # ancient() input they would hide that change from Snakemake in the run that makes them.
    input:
        lambda wildcards: (
            expand(
                "data/raw/{dataset}/{file}",
                dataset=wildcards.dataset,
                file=["annotations.jsonl", "summaries.jsonl", "pieces.jsonl"],
            )
            if CARDS[wildcards.dataset].has_remote_annotations
            else []
        ),
        lambda wildcards: at_hand(wildcards.dataset),
        needed_package,
    output:
        shard="data/raw/{dataset}/shards/{shard}.json",
        videos=list(map(temp, videos_of("{dataset}", "{shard}"))),
    log:
        "logs/download/{dataset}/{shard}.log",
    benchmark:
        "benchmarks/results/download/{dataset}/{shard}.tsv"
    group:
        in_group if STORED else None
    resources:
        mem_mb=memory,
        runtime=minutes(24 * 60),
    params:
        videos=lambda wildcards: DIGESTS[wildcards.dataset][wildcards.shard],
        shards=PARAMS.download.shards,
        settings=settings("download", PARAMS, "download.shards"),
        code=code_for_dataset("download"),
    shell:
        "python -m pipeline.stages.download shard {wildcards.dataset} {wildcards.shard} --shards {params.shards}"
        " --settings {params.settings:q} --videos {output.videos} > {log} 2>&1"


rule download:
    input:
        shards=lambda wildcards: lists_of(wildcards.dataset),
        annotations="data/raw/{dataset}/annotations.jsonl",
        summaries="data/raw/{dataset}/summaries.jsonl",
        pieces="data/raw/{dataset}/pieces.jsonl",
    output:
        # Not removed before the job: by it videos are known again, in however many shards.
        manifest=kept("data/raw/{dataset}/manifest.json"),
        missing="data/raw/{dataset}/missing.csv",
    log:
        "logs/download/{dataset}.log",
    localrule: True
    params:
        packed="--packed" if STORED else "",
        within=lambda wildcards: (
            PARAMS.download.tolerance
            if STORED  # the list that is there is not here
            else within_tolerance(wildcards.dataset, PARAMS.download.tolerance)
        ),
        shards=PARAMS.download.shards,
        settings=settings("download", PARAMS, "download.shards"),
        code=code_for_dataset("download"),
    shell:
        "python -m pipeline.stages.download manifest {wildcards.dataset} --shards {params.shards}"
        " --settings {params.settings:q} {params.packed} > {log} 2>&1"
