"""From a strategy's stages to a resolved plan: identities, chains of adapter pairs, training settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rilbench.contracts.errors import ConfigError, PluginError
from rilbench.contracts.expression import names_in
from rilbench.contracts.strategy import Stage, Strategy
from rilbench.engine import identity
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig, as_mapping
from rilbench.engine.identity import BOOKKEEPING
from rilbench.engine.parts import Parts
from rilbench.engine.planned import Chain, PlannedStage
from rilbench.files.prompts import prompts_fingerprint
from rilbench.host.guard import blamed


def make_plan(config: RunConfig, components: Components) -> list[PlannedStage]:
    """The untouched base first, then the stages of the run that is continued, then every stage of the strategy."""
    stages = planned_stages(config, components)
    document, kept = components.parts.base_document, components.parts.kept
    before = config.first_stage - 1
    base = PlannedStage(
        stage=Stage(), id=identity.digest(document), document=document, below=(), chain=(), index=before
    )
    plan = [base, *(kept.stages if kept else ())]
    begin = len(plan) - 1
    for stage in stages:
        plan.append(
            _merged(stage, plan, begin) if stage.merge else _trained(stage, plan, begin, config, components.parts)
        )
    return plan


def strategies_of(config: RunConfig, plan: Sequence[PlannedStage]) -> list[str]:
    """The strategies that plan a run and train its stages, without those of kept stages."""
    return sorted({config.strategy, *(planned.by for planned in plan if planned.train)})


def planned_stages(config: RunConfig, components: Components) -> list[Stage]:
    """The strategy's plan. PluginError if it is not a list of stages, or leaves out a reward."""
    names = list(config.rewards)
    with blamed(f"strategy {config.strategy!r}"):
        stages = components.strategy(config.strategy).plan(names)
    if not isinstance(stages, list) or not all(isinstance(s, Stage) and isinstance(s.rewards, Mapping) for s in stages):
        raise PluginError(
            f"strategy {config.strategy!r}: plan must return a list of Stage, it returned {stages!r:.200}"
        )
    missing = set(names) - {r for stage in stages for r in stage.rewards}
    if missing:
        raise PluginError(f"strategy {config.strategy!r} plans no stage for {', '.join(sorted(missing))}")
    return stages


def merged_chain(merge: Mapping[int, float], chains: Sequence[Chain]) -> Chain:
    """The weighted sum of the chains of earlier stages (0 is the first trained one); the same in any order."""
    total: dict[str, float] = {}
    for i, coefficient in merge.items():
        for key, c in chains[i]:
            total[key] = total.get(key, 0.0) + coefficient * c
    return tuple(sorted(total.items()))


def _trained(stage: Stage, plan: Sequence[PlannedStage], begin: int, config: RunConfig, parts: Parts) -> PlannedStage:
    """begin: the position of the model that the strategy starts from."""
    by = stage.by or config.strategy
    if parts.get("strategy", by).cls.loss is Strategy.loss:
        raise ConfigError(
            f"strategy {by!r} only plans, it cannot train; name another in strategy_settings.{config.strategy}.by"
        )
    for name in names_in(stage.rewards):
        if not parts.get("reward", name).cls.differentiable:
            raise PluginError(
                f"reward {name!r} is not differentiable; measure it with evaluate.metrics instead of training on it"
            )
    before = plan[begin] if stage.start == "base" else plan[-1]
    initial = before.id if stage.start == "continue" and before.training else None
    if initial and before.kept:
        _check_adapter(before.document["adapter"], config)
    below = before.chain[:-1] if initial else before.chain
    index = before.index + 1
    train = config.train_for((by, config.strategy), list(stage.rewards))
    rewards = [parts.reward_document(item) | {"weight": w} for item, w in stage.rewards.items()]
    document = {  # all that determines the pair
        **plan[0].document,
        "adapter": identity.without(config.adapter),
        "train": identity.without(train, BOOKKEEPING) | {"prompts": prompts_fingerprint(train.prompts)},
        "strategy": parts.get("strategy", by).document,
        "rewards": rewards,
        "seed": config.seed,
        "index": index,
        "chain": [list(link) for link in below],
        "initial": initial,
    }
    if train.decided_by:
        from rilbench.engine import validation  # most runs have none

        document["validation"] = validation.document(parts, train)
    key = identity.digest(document)
    return PlannedStage(
        stage=stage,
        id=key,
        document=document,
        below=below,
        chain=(*below, (key, 1.0)),
        by=by,
        initial=initial,
        index=index,
        train=train,
    )


def _check_adapter(kept: Mapping[str, Any], config: RunConfig) -> None:
    """ConfigError if a pair that another run trained cannot be trained further."""
    now = as_mapping(config)["adapter"]
    if differs := [f"adapter.{key}={kept.get(key)}" for key in now if kept.get(key) != now[key]]:
        raise ConfigError(f"adapter: {config.strategy} continues a pair that has {', '.join(differs)}; give the same")


def _merged(stage: Stage, plan: Sequence[PlannedStage], begin: int) -> PlannedStage:
    """The weighted sum of the weight changes, or of the factors, of earlier stages that the strategy planned.

    Models that all start from the kept stages are averaged on top of these, whatever the coefficients sum to; a
    sequence is scaled as a whole. The index is the largest of theirs: a stage trained on it draws prompts, noise and a
    pair of its own.
    """
    own = plan[begin + 1 :]
    if begin and stage.average == "factors":
        raise ConfigError("after: factors cannot be averaged on top of earlier stages; use average=changes")
    below = plan[begin].chain if all(own[i].stage.start == "base" for i in stage.merge) else ()
    parts = merged_chain(stage.merge, [planned.chain[len(below) :] for planned in own])
    parts = tuple(sorted((*below, *parts)))
    document = identity.merge_document(plan[0].document, parts, stage.average)
    key = identity.digest(document)
    chain = ((key, 1.0),) if stage.average == "factors" else parts
    index = max(own[i].index for i in stage.merge)
    return PlannedStage(stage=stage, id=key, document=document, below=parts, chain=chain, index=index)
