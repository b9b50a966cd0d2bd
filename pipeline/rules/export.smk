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
    output:
        directory("results/bundles/{strategy}"),
    log:
        "logs/export/{strategy}.log",
    resources:
        mem_mb=memory,
        runtime=minutes(),
    shell:
        "python -m pipeline.stages.export $(dirname {input.runs}) {output} > {log} 2>&1"
