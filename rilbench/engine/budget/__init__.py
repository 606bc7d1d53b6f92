"""Whether a run fits: memory and time before the start."""
