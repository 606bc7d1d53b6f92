"""`rilbench report`: one HTML file about many runs, for readers who did not run them."""
