from os.path import dirname

BUNDLED = f"k{max(PARAMS.runs.shots)}-s{PARAMS.runs.seeds[0]}"


rule export:
    # Asked for by name: `snakemake --cores 1 results/bundles/read`. All tasks, at the most shots, of the first seed.
    input:
        runs=expand(
            "models/adapters/{dataset}/{task}/{{strategy}}/k{shots}-s{seed}/run.json",
            dataset=PARAMS.dataset,
            task=PARAMS.task,
            shots=max(PARAMS.runs.shots),
            seed=PARAMS.runs.seeds[0],
        ),
        scores=expand(
            "results/runs/{dataset}/{task}/runs.json",
            dataset=PARAMS.dataset,
            task=PARAMS.task,
        ),
        # What a bundle takes along, or is told of.
        adapters=expand(
            "models/adapters/{dataset}/{task}/{{strategy}}/{draw}/{file}",
            dataset=PARAMS.dataset,
            task=PARAMS.task,
            draw=BUNDLED,
            file=["adapter.safetensors", "adapter.json"],
        ),
        backbones=[file for task in PARAMS.task for file in backbone_of(task)],
        encoders=[*encoder_files(ENCODERS), "models/encoders/encoders.json"],
        splits=expand(
            "data/splits/{dataset}/{task}/{draw}.json",
            dataset=PARAMS.dataset,
            task=PARAMS.task,
            draw=BUNDLED,
        ),
        texts=expand(
            "data/raw/{dataset}/{file}",
            dataset=DATASETS,
            file=["annotations.jsonl", "segments.jsonl"],
        ),
        features=f"data/features/{PARAMS.dataset}/features.json",
        results=lambda wildcards: [
            f"results/runs/{PARAMS.dataset}/{task}/{file}"
            for task in PARAMS.task
            for file in [
                "references.json",
                *(
                    f"{run}/scores.json"
                    for run, _ in scored(task)
                    if dirname(run) in ["map", wildcards.strategy]
                ),
            ]
        ],
    output:
        directory("results/bundles/{strategy}"),
    log:
        "logs/export/{strategy}.log",
    resources:
        mem_mb=memory,
        runtime=minutes(),
    shell:
        "python -m pipeline.stages.export $(dirname {input.runs}) {output} > {log} 2>&1"
