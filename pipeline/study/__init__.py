"""A study: strategies on several datasets and backbones, trained from several seeds of the backbone, judged by claims.

study.yaml says what is run and what would refute it. A cell is a workspace of its own, in which the same Snakefile runs
on params made from params.yaml, one for each setting and seed of the backbone.

schema        study.yaml, typed, and the params of each cell
cells         the workspaces
running       Snakemake in them, or its commands, for a machine without it
registration  what was written down before the first test score
analysis      scores of all cells, differences and their intervals
verdicts      of the claims, and what the page says first
page          results/study/index.html and study.json
markdown      the same as a table in Markdown
"""
