"""What of an agent can be explained beside its actions: scalars of an observation, and maps that it makes by itself.

``explain`` knows no kind of agent. One that has more inside than a critic, or something else, says so as its
``insides``; any policy with ``values`` and ``device`` is explained by these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import FovealError
from foveal.registry import nearest
from foveal.saliency import CHANNELS, SALIENCY, ScalarFunction, black_boxes, needs_choices, needs_gradient
from foveal.types import Observation

BUILT_IN = "attention"
"""Name of the map that an attention module inside the agent makes by itself, beside those of ``foveal.saliency``."""

DEFAULT_MAP = "guided_backprop"

DEFAULT_QUANTILE = 0.95
"""SGQN's for walker, finger and cheetah: the mask keeps one pixel in twenty."""

Bind: TypeAlias = Callable[[Sequence[Any], Sequence[Any]], ScalarFunction]
"""Observations, and the actions taken on them -> a function from their pixels to one number for each, (B,)."""


@dataclass(frozen=True)
class Scalar:
    """A number that an agent computes from an observation, with a graph back to the pixels.

    Attributes:
        bind: see ``Bind``.
        symbol: for it, in a word.
        label: of an axis.
        meaning: a phrase.
    """

    bind: Bind
    symbol: str
    label: str
    meaning: str


@dataclass(frozen=True)
class Decision:
    """What an agent acts by.

    Attributes:
        bind: observations, and the actions taken on them -> a function from their pixels to (B, A): the numbers of the
            action, or one number for each discrete action, values or logits, of which the largest is chosen.
        discrete: which of the two.
    """

    bind: Bind
    discrete: bool


@dataclass(frozen=True)
class View:
    """A picture of what an agent saw, beside the one for people.

    Attributes:
        draw: observation -> (H, W, 3) ``uint8``, as large as that one.
        meaning: a phrase.
        beneath: whether maps are drawn over it too.
    """

    draw: Callable[[Any], NDArray[np.uint8]]
    meaning: str
    beneath: bool = False


@dataclass(frozen=True)
class Reading:
    """A number that an agent has for every observation.

    Attributes:
        read: observation -> the number.
        unit: of it.
        limit: what it should not be above, or None.
    """

    read: Callable[[Any], float]
    unit: str
    limit: float | None = None


@dataclass(frozen=True)
class Insides:
    """What an agent lets others look at.

    Attributes:
        scalars: by name; the first is what is explained unless another is asked for. None in a black box, of which
            black-box maps alone can be made, and those of its decision.
        pixels: observations -> (B, C, H, W) floating point, what maps are of.
        strength: maps, (B, C, H, W) -> (B, H, W), not negative: how much each pixel matters.
        maps: that it makes by itself, by name: observations -> (B, H, W), not negative.
        usual: names of maps to show unless others are asked for.
        quantile: of masks; None where there are none.
        same_scale: whether all pictures of an episode share their brightness.
        summed: what ``strength`` adds up, in words, if it does.
        remark: a sentence on what is not there.
        even: (H, W), what "attention" draws where it weighs every place alike; None where that is unknown.
        grids: observations -> (B, h, w), what "attention" is drawn from; None where there is none.
        control: the same of an agent that has learned nothing, for comparison.
        config: everything the agent was made with, JSON-able.
        views: by name, what is shown beside the frame.
        readings: by name, what is drawn over the steps of an episode.
        decision: what it acts by, or None where it does not say.
    """

    scalars: Mapping[str, Scalar]
    pixels: Callable[[Sequence[Any]], Tensor]
    strength: Callable[[Tensor], Tensor]
    maps: Mapping[str, Callable[[Sequence[Any]], Tensor]] = field(default_factory=dict)
    usual: tuple[str, ...] = (DEFAULT_MAP,)
    quantile: float | None = DEFAULT_QUANTILE
    same_scale: bool = False
    summed: str = ""
    remark: str = ""
    even: Callable[[], NDArray[np.float32]] | None = None
    grids: Callable[[Sequence[Any]], NDArray[np.float32]] | None = None
    control: Insides | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, View] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    decision: Decision | None = None

    def scalar(self, name: str | None = None) -> Scalar:
        """One by its name, or the first.

        Raises:
            FovealError: there is no such scalar; those that there are get listed.
        """
        if not self.scalars:
            raise FovealError("this policy is a black box: it has no scalars that could be explained by gradients")
        if name is not None and name not in self.scalars:
            raise FovealError(f"this agent has no scalar {name!r}: {nearest(name, list(self.scalars))}")
        return self.scalars[next(iter(self.scalars)) if name is None else name]

    def look(
        self,
        name: str,
        observations: Sequence[Any],
        actions: Sequence[Any] = (),
        of: str | None = None,
    ) -> Tensor:
        """One map of a batch.

        Args:
            name: of the map, of ``maps`` or ``foveal.saliency``.
            observations: as the agent acted on them.
            actions: that it took.
            of: name of the scalar; of a black box without scalars the decision is explained, as it is by maps of
                choices.

        Returns:
            (B, H, W) ``float32`` on the CPU, not negative.
        """
        if name in self.maps:
            strength = self.maps[name](observations)
        else:
            fn = self.explained(name, of)(observations, actions)
            strength = self.strength(SALIENCY.get(name)(fn, self.pixels(observations)))
        return strength.detach().float().cpu()

    def explained(self, name: str, of: str | None = None) -> Bind:
        """What a map of ``foveal.saliency`` is of; arguments as for ``look``.

        Raises:
            FovealError: there is no such scalar.
        """
        if self.decision is not None and (needs_choices(name) or not self.scalars):
            return self.decision.bind
        return self.scalar(of).bind

    def check_map(self, name: str) -> None:
        """Refuse a map that the agent lacks.

        Raises:
            FovealError: it is unknown, or a module inside would make it, and there is none; or it needs a gradient, and
                this is a black box, or discrete actions, and this has none.
        """
        if name == BUILT_IN and name not in self.maps:
            raise FovealError(
                "this agent has no attention module whose map could be shown: train one that has it inside, such "
                f"as --encoder fls, or choose a map that needs none: {', '.join(SALIENCY.names())}"
            )
        if name in self.maps:
            return
        if needs_gradient(name) and not self.scalars:
            raise FovealError(
                f"{name} needs a gradient, and this policy is a black box: choose a map that needs none, "
                f"{', '.join(black_boxes())}"
            )
        if needs_choices(name) and (self.decision is None or not self.decision.discrete):
            raise FovealError(
                f"{name} explains the choice among discrete actions, and this agent's are not: choose another of "
                f"{', '.join(SALIENCY.names())}"
            )


def insides_of(agent: Any) -> Insides:
    """What an agent lets others look at: what it says, or its critic's values, or nothing.

    Raises:
        FovealError: it has nothing to look at.
    """
    own: Callable[[], Insides] | None = getattr(agent, "insides", None)
    if own is not None:
        return own()
    if not hasattr(agent, "values"):
        raise FovealError(
            f"a {type(agent).__name__} has no values() and no insides(), so nothing of it can be explained by gradients"
        )
    return pixel_insides(agent, critic_scalars(agent))


def newest(maps: Tensor) -> Tensor:
    """Of stacked RGB frames the latest one's largest absolute value among its colours."""
    return maps[:, -CHANNELS:].abs().amax(dim=1)


def summed(maps: Tensor) -> Tensor:
    """Of stacked frames of one channel the absolute values' sum.

    Which of some frames of a scene that hardly moves a network reads means little.
    """
    return maps.abs().sum(1)


def configuration(agent: Any) -> dict[str, Any]:
    """Everything the agent was made with, or, of a policy from elsewhere, its environment alone."""
    if hasattr(agent, "config"):
        return dict(agent.config.as_dict())
    return {"env": agent.env_id, "environment": dict(getattr(agent, "env_options", {}))}


def critic_scalars(agent: Any) -> dict[str, Scalar]:
    """``q1`` and so on, and of several ``min_q``, of a policy whose ``values(obs, action, vector)`` are (heads, B).

    Where no actions were taken, as on pictures of other players, the values are of the agent's own best ones.

    How many heads there are, its learner says; one where it has none.
    """

    def head(number: int | None, meaning: str) -> Scalar:
        def bind(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
            acted = _tensor(actions if len(actions) else _best(agent, observations), agent.device)  # (B, A) or (B,)
            vector = _vector(observations, agent.device)

            def value(pixels: Tensor) -> Tensor:
                values: Tensor = agent.values(pixels, acted, vector)
                return values.amin(0) if number is None else values[number]

            return value

        return Scalar(bind, "Q", "critic's value", meaning)

    heads = getattr(getattr(agent, "learner", None), "heads", 1)
    meanings = ["the critic's first head", *(f"the critic's head number {number}" for number in range(2, heads + 1))]
    smallest = {"min_q": head(None, "the smallest of the critic's heads")} if heads > 1 else {}
    return {**{f"q{number + 1}": head(number, meaning) for number, meaning in enumerate(meanings)}, **smallest}


def policy_scalars(agent: Any) -> dict[str, Scalar]:
    """``value`` of the state and ``log_prob`` of the action, of an agent that has both."""

    def value(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        def fn(pixels: Tensor) -> Tensor:
            values: Tensor = agent.values(pixels)
            return values[0]

        return fn

    def log_prob(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        acted = _tensor(actions if len(actions) else _best(agent, observations), agent.device)

        def fn(pixels: Tensor) -> Tensor:
            log_probs: Tensor = agent.learner.log_prob(agent.method.see(Observation(pixels)), acted)
            return log_probs

        return fn

    return {
        "value": Scalar(value, "V", "value of the state", "the state's value"),
        "log_prob": Scalar(log_prob, "log p", "log-probability of the action", "the action's log-probability"),
    }


def decision_of(agent: Any, actions: spaces.Space[Any]) -> Decision:
    """What an agent acts by whose learner has ``decision``.

    Args:
        agent: ``foveal.Agent``.
        actions: its.
    """

    def bind(observations: Sequence[Any], taken: Sequence[Any]) -> ScalarFunction:
        vector = _vector(observations, agent.device)

        def decide(pixels: Tensor) -> Tensor:
            decided: Tensor = agent.learner.decision(agent.method.see(Observation(pixels, vector)))
            return decided

        return decide

    return Decision(bind, isinstance(actions, spaces.Discrete))


def action_scalars(decision: Decision, names: Sequence[str]) -> dict[str, Scalar]:
    """Each number of a continuous action.

    Args:
        decision: of A numbers.
        names: of them all.
    """

    def number(place: int) -> Scalar:
        def bind(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
            decide = decision.bind(observations, actions)
            return lambda pixels: decide(pixels)[:, place]

        return Scalar(bind, "a", f"action, number {place + 1}", f"the action's number {place + 1}")

    return {name: number(place) for place, name in enumerate(names)}


def pixel_insides(agent: Any, scalars: Mapping[str, Scalar], decision: Decision | None = None) -> Insides:
    """Of a policy that sees stacked RGB frames, alone or beside a vector; with maps of its own, if it has some."""

    def pixels(observations: Sequence[Any]) -> Tensor:
        images = [seen["image"] if isinstance(seen, Mapping) else seen for seen in observations]
        return torch.as_tensor(np.stack(images), device=agent.device).float()

    def attention(pixels: Tensor) -> Tensor:
        return torch.as_tensor(agent.attention(pixels.cpu().numpy()))

    def of_observations(made: Callable[[Tensor], Tensor]) -> Callable[[Sequence[Any]], Tensor]:
        return lambda observations: made(pixels(observations))

    built_in = {BUILT_IN: attention} if getattr(agent, "has_attention", False) else {}
    grid_of: Callable[[NDArray[Any]], NDArray[np.float32]] | None = getattr(agent, "attention_grid", None)

    def grids(observations: Sequence[Any]) -> NDArray[np.float32]:
        assert grid_of is not None  # else nobody gets this function
        return grid_of(pixels(observations).cpu().numpy())

    own = {**built_in, **getattr(getattr(agent, "method", None), "maps", dict)()}
    return Insides(
        scalars=scalars,
        pixels=pixels,
        strength=newest,
        maps={name: of_observations(made) for name, made in own.items()},
        quantile=_quantile(agent),
        grids=grids if built_in and grid_of is not None else None,
        config=configuration(agent),
        decision=decision,
    )


def _best(agent: Any, observations: Sequence[Any]) -> list[Any]:
    """What the agent would do."""
    return [agent.predict(seen, deterministic=True)[0] for seen in observations]


def _vector(observations: Sequence[Any], device: torch.device) -> Tensor | None:
    """(B, V), what stands beside the pictures; None where nothing does."""
    vectors = [seen["vector"] for seen in observations if isinstance(seen, Mapping)]
    return _tensor(vectors, device) if vectors else None


def _quantile(agent: Any) -> float:
    """That of the masks which it was trained with, if there were some."""
    sections = agent.config.sections().values() if hasattr(agent, "config") else ()
    trained = (section.quantile for section in sections if hasattr(section, "quantile"))
    return float(next(trained, DEFAULT_QUANTILE))


def _tensor(items: Sequence[Any], device: torch.device) -> Tensor:
    """Discrete actions stay whole numbers, all else becomes ``float32``."""
    array = np.stack([np.asarray(item) for item in items])
    return torch.as_tensor(array, device=device).to(torch.int64 if array.dtype.kind in "iu" else torch.float32)
