"""`rilbench explain` and `rilbench settings`."""
