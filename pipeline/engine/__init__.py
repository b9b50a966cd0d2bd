"""Where Snakemake and DVC meet.

Snakemake judges files by their times and by its own records of params and code; DVC judges by content. After
`dvc checkout`, `dvc pull` or a copy of the folder the files are right, but their times are new and Snakemake's records
are of other files. So, before a run, what DVC vouches for is adopted: Snakemake records it as it stands. What is of
unknown making goes, since nobody knows by which params it was made. A plan (`snakemake -n`) changes nothing; it is
told what a run would find after that.

begin      one run at a time, and the folder made ready for it
targets    what there is to make: all outputs of all rules, and those below a folder
adopt      what DVC vouches for and what must go, told to Snakemake
records    Snakemake's records of files, and ours of what dvc.lock holds
dvc        DVC's commands and its lock file
aside      files that must go
confirm    whether a plan made anew finds nothing left to do
leases     who works on what, on this machine and on others
holders    the processes that do
stopping   processes that end when they should
"""
