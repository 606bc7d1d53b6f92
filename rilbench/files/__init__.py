"""Published files: references, the cache, prompts, pipelines."""
