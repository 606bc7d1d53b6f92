"""A study: strategies x orders x seeds, planned as one graph of stages and run in one or several processes."""
