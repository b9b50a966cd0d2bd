# The environment is .venv in this checkout; every target makes it first.
SHELL := /bin/bash
CORES ?= all
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: run repro plan study cluster test lint format bench clean help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: .venv/installed  ## the whole pipeline, from raw video to results/report/index.html
	snakemake --cores $(CORES)

repro: .venv/installed  ## the same by DVC
	@test -e .git || dvc config --local core.no_scm true
	dvc repro

plan: .venv/installed  ## what a run would do now, and why, on one screen
	python -m pipeline.plan

study: .venv/installed  ## the comparison of study.yaml, hours long; SETTINGS=montage for one of its settings, FOLDER=... for another study
	python -m pipeline.study $(if $(SETTINGS),--settings $(SETTINGS)) $(if $(FOLDER),--folder $(FOLDER)) $(if $(filter-out all,$(CORES)),--cores $(CORES))

cluster: .venv/cluster  ## add what profiles/slurm, profiles/kubernetes and object storage need to the environment

test: .venv/installed  ## the tests
	pytest -q -n 2 --dist worksteal -m "not network"

lint: .venv/installed  ## style and types of Python, style of Snakemake files
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile pipeline/rules

format: .venv/installed  ## rewrite files in the project's style
	ruff check --fix .
	ruff format .
	snakefmt Snakefile pipeline/rules

bench: .venv/installed  ## speed and memory, side by side with what one would pick instead
	python -m benchmarks

clean:  ## remove everything the pipeline made; the environment stays
	rm -rf data/raw data/features data/splits data/transcripts models results logs benchmarks/results .snakemake

.venv/installed: requirements.txt pyproject.toml tools/fit_torchvision.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version)"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	.venv/bin/python tools/fit_torchvision.py
	touch $@

.venv/cluster: .venv/installed requirements-cluster.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-cluster.txt
	touch $@
