# What jobs are given, all that they read: functions of more rules than one.


def kept(path):
    """An output that its job goes on from. In object storage none is: the job begins anew."""
    return path if STORED else update(path)


def videos_of(dataset, shard):
    """The videos of a shard, where a job has to be given them; in a file system they simply are there."""
    return [f"data/raw/{dataset}/shards/{shard}.tar"] if STORED else []


def at_hand(dataset):
    """What keeps a job on this machine, where storage is all that others see: that its videos are in a folder here."""
    card = CARDS[dataset]
    return [local(str(card.files[0]))] if STORED and card.videos.folder else []


def in_group(wildcards):
    """The group of a shard's download and extraction: its videos stay on the node, unless others need them."""
    learned = wildcards.dataset == PARAMS.source and LEARNED
    return None if learned or at_hand(wildcards.dataset) else "shard"


def package_of(dataset):
    """The published features of a dataset, which a job has to be given where others do not see them."""
    return expand(
        "data/raw/{dataset}/{file}",
        dataset=dataset,
        file=["package.zip", "package.json"],
    )


def needed_package(wildcards):
    """The same, where they are and have to be given."""
    needed = STORED and wildcards.dataset in PACKAGED
    return package_of(wildcards.dataset) if needed else []


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


def heard_of(dataset):
    """What was heard in a dataset's videos."""
    return f"data/transcripts/{dataset}/transcripts.jsonl"


def labels_of(task, dataset):
    """A dataset's labels, with the transcripts that these may lack."""
    heard = [heard_of(dataset)] if task == "summarization" else []
    return [f"data/raw/{dataset}/{LABELS[task]}", *heard]


def backbone_of(task):
    """What is loaded of a pretrained model, with what belongs to it."""
    files = ["model.safetensors", "config.json", "pretrain.json", *BESIDE[task]]
    return expand("models/backbone/{task}/{file}", task=task, file=files)


def scored(task):
    """Each run of a task, with the files of its results."""
    yield from ((run, [*SCORED, "curve.csv"]) for run in RUNS)
    yield from ((run, SCORED) for run in UNTRAINED_RUNS[task])
