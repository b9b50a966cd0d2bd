# What jobs are given, all that they read: functions of more rules than one.


def encoder_files(names):
    return expand(
        "models/encoders/{encoder}/{file}",
        encoder=names,
        file=["model.safetensors", "config.json"],
    )


def lists_of(dataset):
    """What the shards of a dataset have."""
    return expand(
        "data/raw/{dataset}/shards/{shard}.json", dataset=dataset, shard=SHARDS
    )


def features_of(dataset):
    """The features: by the list of their digests, as the jobs of 100 runs would have 100 times 2,000 inputs.

    A job that has to be given them is given all.
    """
    files = ["features.json", "words.json", *(FEATURES if STORED else [])]
    return expand("data/features/{dataset}/{file}", dataset=dataset, file=files)


def backbone_of(task):
    """What is loaded of a pretrained model, with what belongs to it."""
    files = ["model.safetensors", "config.json", "pretrain.json", *BESIDE[task]]
    return expand("models/backbone/{task}/{file}", task=task, file=files)


def scored(task):
    """Each run of a task, with the files of its results."""
    yield from ((run, [*SCORED, "curve.csv"]) for run in RUNS)
    yield from ((run, SCORED) for run in UNTRAINED_RUNS[task])
