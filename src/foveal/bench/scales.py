"""Returns of different tasks on one scale, from 0 for a policy that knows nothing to 1 for a stated reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foveal.bench.scores import Ledger, Score
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.evaluation.world import TRAIN

DMC, DMC_MOST = "dmc/", 1000.0
REFERENCES = {
    "box2d/car-racing": (900.0, "the return at which Gymnasium takes it for solved"),
    "box2d/car-racing-discrete": (900.0, "the return at which Gymnasium takes it for solved"),
}
"""Task -> a return that is 1, and what that return is."""


@dataclass(frozen=True)
class Scale:
    """How a task's returns are put on the common scale.

    Attributes:
        says: that in words.
        low, high: the returns that are 0 and 1; of ``successes`` neither is used.
        successes: whether the share of episodes that solve the task is the score.
    """

    says: str
    low: float = 0.0
    high: float = 1.0
    successes: bool = False

    def __call__(self, score: Score) -> float:
        """A run's score on the scale."""
        if self.successes and score.condition.success is not None:
            return score.condition.success.rate
        return (score.value - self.low) / (self.high - self.low)


def references(texts: Sequence[str]) -> dict[str, tuple[float, str]]:
    """``TASK=RETURN`` -> what counts as 1, beside the references that are known.

    Raises:
        FovealError: a text is of another form.
    """
    found = dict(REFERENCES)
    for text in texts:
        task, _, value = text.rpartition("=")
        try:
            found[task] = (float(value), "as given")
        except ValueError:
            task = ""
        if not task:
            raise FovealError(f"--reference takes TASK=RETURN, such as atari/breakout=30.5, not {text!r}")
    return found


def scale_of(
    suite: str | None, task: str, scores: Sequence[Score], ledger: Ledger, known: Mapping[str, tuple[float, str]]
) -> Scale | str:
    """The scale of a task, or why it has none.

    Args:
        suite: of the runs.
        task: id of the environment.
        scores: of the task, under any condition.
        ledger: with the random policy's results.
        known: task -> reference and what it is, see ``references``.
    """
    if task.startswith(DMC):
        return Scale("return / 1000", high=DMC_MOST)
    if all(score.condition.success is not None for score in scores):
        return Scale("share of episodes that solve the task", successes=True)
    chance = ledger.chance.get((suite, task))
    if chance is None:
        return "the random policy was not evaluated (random.json)"
    if task not in known:
        return f"no return is known that could be 1: state one, --reference {task}=RETURN"
    low, (high, what) = _chance(chance), known[task]
    if high == low:
        return "its reference is what the random policy gets"
    return Scale(f"0 is the random policy's return {low:.4g}, 1 is {high:.4g}, {what}", low, high)


def _chance(results: Results) -> float:
    """Of a policy that sees nothing, under whatever look it was evaluated."""
    condition = results.get(TRAIN) or results.conditions[0]
    return float(condition.returns.mean())
