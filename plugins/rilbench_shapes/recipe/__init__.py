"""The training recipe of the embedded benchmark: one file per model, one loop for all."""
