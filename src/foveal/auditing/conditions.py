"""What a policy is tried under: names and severities, checked before work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from foveal.auditing.blindness import REPLACEMENTS, Film, replacement
from foveal.auditing.cameras import Camera
from foveal.auditing.changing import Changed, changed_by
from foveal.corruptions import SEVERITIES
from foveal.corruptions.streams import change_names, knows_the_task
from foveal.envs.perturbations import PERTURBATIONS
from foveal.errors import FovealError
from foveal.registry import nearest

CLEAN = "as it is"
CHANCE = "random actions"


@dataclass(frozen=True)
class Condition:
    """One point of an audit.

    Attributes:
        change: a change of ``foveal.corruptions``, a perturbation of ``foveal.envs``, one of ``REPLACEMENTS``, or
            ``CLEAN``.
        severity: 1 to 5; None where there are no severities.
        shielded: whether a shield stands before the policy.
    """

    change: str
    severity: int | None = None
    shielded: bool = False

    @property
    def name(self) -> str:
        """As bars and messages say it."""
        return self.change if self.severity is None else f"{self.change}:{self.severity}"

    @property
    def title(self) -> str:
        """The same, and whether it is behind a shield."""
        return f"{self.name}{', shield' if self.shielded else ''}"

    @property
    def words(self) -> str:
        """As people read it, without a word of shields."""
        severity = "" if self.severity is None else f", severity {self.severity}"
        return self.change.replace("_", " ") + severity

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def perturbation(self) -> str | None:
        """The name of a perturbation of ``foveal.envs``, where it is one."""
        return self.change if self.change in PERTURBATIONS.names() else None


def conditions(
    changes: Sequence[str] | None,
    severities: Sequence[int],
    *,
    masks: bool,
    usual: Sequence[str] = (),
    possible: Sequence[str] = (),
) -> tuple[Condition, ...]:
    """Every change at every severity.

    Args:
        changes: names; None for all that are possible.
        severities: of each.
        masks: whether somebody knows which pixels are the task's own.
        usual: perturbations of the environment that are taken where no change is named.
        possible: all perturbations that the environment can have.

    Raises:
        FovealError: a name is unknown, or is named twice, or can't be done here; a severity is none, or is named twice.
    """
    _check_severities(severities)
    if changes is None:
        changes = [*(name for name in change_names() if masks or not knows_the_task(name)), *usual]
    for place, name in enumerate(changes):
        _check_change(name, changes[:place], possible, masks=masks)
    found: list[Condition] = []
    for name in changes:
        once = name in possible
        found += [Condition(name)] if once else [Condition(name, severity) for severity in sorted(severities)]
    return tuple(found)


def blindness() -> tuple[Condition, ...]:
    """The test of blindness."""
    return tuple(Condition(name) for name in REPLACEMENTS)


def changed_under(condition: Condition, cameras: Sequence[Camera], films: Sequence[Film], seed: int) -> Changed | None:
    """What cameras show under a condition; None where that is what they see, or the simulator is changed.

    Args:
        condition: what.
        cameras: of the observations.
        films: of other episodes, for the test of blindness.
        seed: of the changes.
    """
    if condition.change in REPLACEMENTS:
        return replacement(condition.change, cameras, films)
    if condition.severity is None:
        return None
    return changed_by(condition.change, condition.severity, cameras, seed)


def _check_severities(severities: Sequence[int]) -> None:
    if not severities:
        raise FovealError("no severities: name some of 1 to 5")
    for severity in severities:
        if isinstance(severity, bool) or severity not in SEVERITIES:
            raise FovealError(f"a severity is a whole number from 1 to {len(SEVERITIES)}, not {severity}")
    if len(set(severities)) < len(severities):
        raise FovealError(f"severities are named twice in {', '.join(map(str, severities))}")


def _check_change(name: str, before: Sequence[str], possible: Sequence[str], *, masks: bool) -> None:
    known = [*change_names(), *possible]
    if name in before:
        raise FovealError(f"the change {name!r} is named twice")
    if name in PERTURBATIONS.names() and name not in possible:
        raise FovealError(f"{name!r} changes a simulator of foveal's own, and this environment is none: leave it out")
    if name not in known:
        bare = name.partition(":")[0]
        if bare in known:
            raise FovealError(f"name changes without a severity, {bare}, and say severities for all of them")
        raise FovealError(f"unknown change {name!r}: {nearest(name, known)}")
    if knows_the_task(name) and not masks:
        raise FovealError(
            f"{name} must know which pixels are the task's own, and nobody tells here: the environment needs a method "
            "agent_mask()"
        )
