"""`shapes`: a procedural world small enough to train a real text-to-image stack on two CPU cores.

The world (captions, renderer), what may be measured only because the world is known (oracle, rating and
preference rules), the shipped weights, and the recipe that made them: `python -m rilbench_shapes`.
"""
