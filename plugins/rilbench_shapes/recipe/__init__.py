"""The training recipe of the embedded benchmark: one file a model, one loop for all."""
