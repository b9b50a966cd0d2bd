TOKENIZER = [
    "models/backbone/summarization/tokenizer/tokenizer.json",
    "models/backbone/summarization/tokenizer/tokenizer_config.json",
]

for task in PARAMS.task:

    rule:
        name:
            f"pretrain_{task}"
        input:
            labels=f"data/raw/{PARAMS.source}/{LABELS[task]}",
            dataset=f"data/raw/{PARAMS.source}/dataset.json",
            segments=f"data/raw/{PARAMS.source}/segments.jsonl",
            features=f"data/features/{PARAMS.source}/features.json",
        output:
            weights=f"models/backbone/{task}/model.safetensors",
            config=f"models/backbone/{task}/config.json",
            curve=f"models/backbone/{task}/curve.csv",
            summary=f"models/backbone/{task}/pretrain.json",
            tokenizer=TOKENIZER if task == "summarization" else [],
            # What the map into the joint space is fitted to of the source.
            joint=(
                f"models/backbone/{task}/joint.safetensors"
                if task == "grounding"
                else []
            ),
        log:
            f"logs/pretrain/{task}.log",
        benchmark:
            f"benchmarks/results/pretrain/{task}.tsv"
        resources:
            gpu=1,
        params:
            task=task,
            settings=settings("pretrain", PARAMS, task=task),
            code=code_digest("pretrain", PARAMS, task),
        shell:
            "python -m pipeline.stages.pretrain {params.task} --settings {params.settings:q} > {log} 2>&1"
