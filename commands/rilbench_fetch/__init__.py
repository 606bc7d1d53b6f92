"""Getting the published files of a configuration: which there are, and downloads that resume and are checked."""
