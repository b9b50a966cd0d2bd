"""Sources whose training videos can be stitched anew, without end: a file each, named as cards name the source.

A file's `RESTITCHER` is called with the samples to train on, the dataset's folder and the number of steps. What it
gives is called at every step, with a number, for as many new samples.
"""
