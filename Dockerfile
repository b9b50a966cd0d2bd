# What jobs need where there is nothing: Python, ffmpeg and the locked packages. The code is not in it: on Kubernetes
# Snakemake brings what git tracks, and on a shared file system it is there.
#   docker build --tag registry.example.org/read:1 . && docker push registry.example.org/read:1
#   apptainer build read.sif docker-daemon://registry.example.org/read:1
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/*

# As in `make cluster`. There is no compiler: what is locked comes as wheels or in plain Python.
COPY requirements.txt requirements-cluster.txt tools/fit_torchvision.py /opt/read/
RUN python -m pip install --no-cache-dir --disable-pip-version-check \
        --requirement /opt/read/requirements.txt --requirement /opt/read/requirements-cluster.txt \
    && python /opt/read/fit_torchvision.py

# Weights and caches of libraries go where any user may write.
ENV HOME=/tmp PYTHONUNBUFFERED=1
WORKDIR /workdir
