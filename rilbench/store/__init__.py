"""Where a run, a stage and an evaluation lie, and how files are written and read."""
