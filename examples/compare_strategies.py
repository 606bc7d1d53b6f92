"""Two strategies on two rewards: train, compare, plot, generate. Cells for an editor or Jupyter, or a script:

    python examples/compare_strategies.py [key=value ...]

Settings of the command line go to both runs, for example train.samples=80 for a quick try.
"""

# %% Train. A second call reads the results from the store.
import sys

import rilbench

settings = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
rewards = ["aesthetic", "hps"]
strategies = ["baseline", "rid"]
runs = [rilbench.run(strategy=strategy, rewards=rewards, settings=settings) for strategy in strategies]

# %% Compare. Forgetting is how far a metric has fallen from its best stage; smaller is better.
table = rilbench.compare(runs, against="baseline")
forgetting = table[table["quantity"] == "forgetting"]
print(forgetting.pivot(index="label", columns="metric", values="mean").T)

# %% Plot. In a notebook, use `.show()` instead.
rilbench.plot.stage_curves(runs, "attributes").write_html("attributes.html")
rilbench.plot.heat_map(runs).write_html("forgetting.html")

# %% Generate an image from the same prompt and noise after each stage of each run.
prompt = "a large red circle at the left on a blue background"
for run in runs:
    for stage in run.stages:
        (image,) = stage.generate(prompt, quiet=True)
        image.resize((256, 256)).save(f"{run.result.label}-{stage.number}-{stage.label}.png")
