"""Running checks: as a list of results, or as pytest parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rilbench.contracts.components import Component, Metric, Reward
from rilbench.contracts.errors import ConfigError, PluginError, reason, unknown
from rilbench.contracts.strategy import Strategy
from rilbench.testing.report import CheckResult

if TYPE_CHECKING:
    from rilbench.testing.check import Check, Subject


def check_component(
    component: type[Component],
    settings: Mapping[str, Any] | None = None,
    *,
    device: str = "cpu",
    image_size: int = 64,
    prompts: Sequence[str] | None = None,
    only: Iterable[str] | None = None,
) -> list[CheckResult]:
    """Run the checks of a Reward, Metric or Strategy subclass; an exception of the component is a failed result.

    settings: as a user writes them. image_size: the side of the test images in pixels. prompts: eight different ones,
        for a reward on which the built-in captions have no effect. only: names of the checks to run.
    Raises ConfigError for an unknown check name and for anything that is not a component.
    """
    from rilbench.testing.check import Subject
    from rilbench.testing.inputs import PROMPTS

    names = None if only is None else list(only)
    checks = _known_checks(component, names or ())
    subject = Subject(component, settings or {}, device, image_size, prompts or PROMPTS)
    return [_run(check, subject) for check in checks if names is None or check.name in names]


def checks_for(component: type[Component]) -> list[Check]:
    """The checks that apply to a component, in the order they run; `.name` and `.says` describe each."""
    contracts = (Reward, Metric, Strategy)
    contract = next((c for c in contracts if isinstance(component, type) and issubclass(component, c)), None)
    if contract is None:
        raise ConfigError(f"{component!r} is not a subclass of {', '.join(c.__name__ for c in contracts)}")

    from rilbench.testing import common, gradients, metrics, plans, resources, rewards, training
    from rilbench.testing.check import checks_of

    own = {Reward: (rewards, gradients, resources), Metric: (metrics,), Strategy: (plans, training)}
    return [check for module in (common, *own[contract]) for check in checks_of(module)]


def parametrize_with_checks(
    component: type[Component],
    settings: Mapping[str, Any] | None = None,
    *,
    image_size: int = 64,
    prompts: Sequence[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A pytest decorator that calls a test once for each check, with a function `check` to be called.

    Arguments as of `check_component`. expected_failures: check name to the reason why this component may fail it: a
    strict xfail, which has to be removed once the check passes.
    """
    import pytest

    from rilbench.testing.check import Subject
    from rilbench.testing.inputs import PROMPTS

    expected = expected_failures or {}
    checks = _known_checks(component, expected)
    subject = Subject(component, settings or {}, "cpu", image_size, prompts or PROMPTS)
    marks = {name: [pytest.mark.xfail(reason=reason, strict=True)] for name, reason in expected.items()}
    parameters = [
        pytest.param(partial(_assert_passes, c, subject), id=c.name, marks=marks.get(c.name, [])) for c in checks
    ]
    return pytest.mark.parametrize("check", parameters)


def _assert_passes(check: Check, subject: Subject[Any]) -> None:
    import pytest

    result = _run(check, subject)
    if result.status == "skipped":
        pytest.skip(result.reason)
    assert result.ok, f"{check.name}: {result.reason}"


def _known_checks(component: type[Component], names: Iterable[str]) -> list[Check]:
    """The checks of a component. ConfigError for a name that none of them has."""
    checks = checks_for(component)
    known = [check.name for check in checks]
    for name in names:
        if name not in known:
            raise ConfigError(unknown("check", name, known))
    return checks


def _run(check: Check, subject: Subject[Any]) -> CheckResult:
    """The result of a check, found once; whatever it needs runs first."""
    if check not in subject.results:
        before = [_run(need, subject) for need in check.needs]
        unmet = [f"needs {r.name}" for r in before if r.status == "failed" or r.reason.startswith("needs ")]
        why = unmet[0] if unmet else check.not_for(subject)
        subject.results[check] = CheckResult(check.name, "skipped", why) if why else _try(check, subject)
    return subject.results[check]


def _try(check: Check, subject: Subject[Any]) -> CheckResult:
    from rilbench.testing.check import Fault
    from rilbench.testing.surroundings import undisturbed

    try:
        with undisturbed():
            check.demand(subject)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything
        plain = isinstance(error, Fault | PluginError)
        return CheckResult(check.name, "failed", str(error) if plain else reason(error))
    return CheckResult(check.name, "passed")
