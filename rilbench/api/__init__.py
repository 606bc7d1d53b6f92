"""rilbench from Python; its names are those of `rilbench` itself."""
