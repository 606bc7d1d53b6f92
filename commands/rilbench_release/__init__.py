"""Exports models of a run, generates images from them, and evaluates models from elsewhere."""
