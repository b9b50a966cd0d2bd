rule report:
    input:
        runs=expand(
            "results/runs/{dataset}/{task}/runs.json",
            dataset=PARAMS.dataset,
            task=PARAMS.task,
        ),
        manifest=f"data/raw/{PARAMS.dataset}/manifest.json",
        features=f"data/features/{PARAMS.dataset}/features.json",
    output:
        page="results/report/index.html",
        scores="results/report/scores.json",
        table="results/report/scores.csv",
        metrics=directory("results/report/metrics"),
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/results/report.tsv"
    params:
        settings=settings("report", PARAMS),
        code=code_digest("report", PARAMS),
    shell:
        "python -m pipeline.stages.report --settings {params.settings:q} > {log} 2>&1"
