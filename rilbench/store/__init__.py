"""The files of runs, stages and evaluations: where they are, and how they are written and read."""
