rule report:
    input:
        runs=expand(
            "results/runs/{dataset}/{task}/runs.json",
            dataset=PARAMS.dataset,
            task=PARAMS.task,
        ),
        results=expand(
            "results/runs/{dataset}/{task}/{file}",
            dataset=PARAMS.dataset,
            task=PARAMS.task,
            file=["references.json", "source.json"],
        ),
        scores=[
            f"results/runs/{PARAMS.dataset}/{task}/{run}/{file}"
            for task in PARAMS.task
            for run, files in scored(task)
            for file in files
        ],
        raw=expand(
            "data/raw/{dataset}/{file}",
            dataset=PARAMS.dataset,
            file=[
                "manifest.json",
                "dataset.json",
                "annotations.jsonl",
                "summaries.jsonl",
            ],
        ),
        heard=heard_of(PARAMS.dataset),
        features=f"data/features/{PARAMS.dataset}/features.json",
        encoders="models/encoders/encoders.json",
        backbones=expand("models/backbone/{task}/model.safetensors", task=PARAMS.task),
    output:
        page="results/report/index.html",
        scores="results/report/scores.json",
        table="results/report/scores.csv",
        takeaways="results/report/takeaways.json",
        metrics=[] if STORED else directory("results/report/metrics"),  # of DVC
    log:
        "logs/report.log",
    benchmark:
        "benchmarks/results/report.tsv"
    resources:
        mem_mb=memory,
        runtime=minutes(60),
    params:
        settings=settings("report", PARAMS),
        code=code_digest("report", PARAMS),
    shell:
        "python -m pipeline.stages.report --settings {params.settings:q} > {log} 2>&1"
