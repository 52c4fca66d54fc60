"""What an agent looks at during one evaluation episode: saliency and mask of its critic, moment by moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from foveal.envs import PixelEnv
from foveal.errors import FovealError
from foveal.evaluation.results import Episode, provenance
from foveal.evaluation.rollouts import SEED_OFFSET, TRAIN, EnvLike, Plan, Policy, plan_for, rollout
from foveal.explanation.pictures import Picture
from foveal.saliency import CHANNELS, SALIENCY, SaliencyMap, ScalarFunction, quantile_mask

DEFAULT_QUANTILE = 0.95
"""SGQN's for walker, finger and cheetah: the mask keeps one pixel in twenty."""

BUILT_IN = "attention"
"""Name of the map that an attention module inside the agent makes by itself, beside those of ``foveal.saliency``."""

DEFAULT_MAP = "guided_backprop"

_AT_ONCE = 16  # observations per backward pass; bounds memory, not the result


class Critic(Policy, Protocol):
    """A policy that also tells what it expects; ``foveal.Agent`` is one."""

    @property
    def device(self) -> torch.device:
        """Where its networks are."""

    def values(self, obs: Tensor, action: Tensor, vector: Tensor | None = None) -> Tensor:
        """(heads, B) values with a graph back to ``obs``, (B, C, H, W) floating point."""


@dataclass(frozen=True)
class Moment:
    """One step of an episode.

    Attributes:
        step: agent steps before it.
        frame: (H, W, 3) ``uint8``, the latest frame of the observation.
        strength: (H, W) saliency of that frame: the largest absolute value among its colour channels.
        mask: (H, W) the frame's pixels at or above the quantile; None in games, which have no quantile.
        value: of the first critic head for the action taken, or of the state.
        agent: (H, W) the agent's own pixels, or None where the environment can't tell.
        note: what else there is to say of it, in a word or three.
    """

    step: int
    frame: Picture
    strength: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    value: float
    agent: NDArray[np.bool_] | None = None
    note: str = ""


@dataclass(frozen=True)
class Wording:
    """What the numbers of an episode are called.

    Attributes:
        symbol, value: of ``Moment.value``.
        total: of the sum of rewards.
        reward: of a step.
        digits: of the total, behind the point.
    """

    symbol: str
    value: str
    total: str
    reward: str
    digits: int


CRITIC = Wording("Q", "critic's value", "return", "reward per step", 1)
GAME = Wording("V", "value of the state", "score", "points per step", 0)


@dataclass(frozen=True)
class Attention:
    """One episode under one perturbation as one map shows it, with moments at even distances.

    Attributes:
        environment: its id.
        perturbation, source: as in ``foveal.evaluation.results.Condition``.
        rewards: (length,) one per agent step.
        saliency, quantile: how maps and masks were made; None where there are no masks.
        brightest: strength that gets the brightest colour in all pictures; None if each has its own.
        wording: what the numbers are called.
        note: where colours or videos come from, as ``foveal.evaluation.results.provenance`` says it.
    """

    environment: str
    perturbation: str
    source: str | None
    episode: Episode
    rewards: NDArray[np.float64]
    moments: tuple[Moment, ...]
    saliency: str
    quantile: float | None
    brightest: float | None = None
    wording: Wording = CRITIC
    note: str = ""

    @property
    def precision(self) -> float | None:
        """Share of the mask that lies on the agent's own pixels, averaged over the moments; None if nobody can tell."""
        told = [(m.agent, m.mask) for m in self.moments if m.agent is not None and m.mask is not None]
        return _mean(float(agent[mask].mean()) for agent, mask in told)

    @property
    def share(self) -> float | None:
        """Share of the picture that the agent's own pixels are: the precision of a mask laid at random."""
        return _mean(float(m.agent.mean()) for m in self.moments if m.agent is not None)

    @property
    def ratio(self) -> float | None:
        """Precision over share: how many times as often as by chance the mask lies on the agent."""
        return self.precision / self.share if self.precision is not None and self.share else None

    @property
    def weight(self) -> float | None:
        """Share of all saliency that lies on the agent's own pixels, averaged over the moments; None as above."""
        told = [(m.agent, m.strength) for m in self.moments if m.agent is not None and m.strength.any()]
        return _mean(float(strength[agent].sum() / strength.sum()) for agent, strength in told)

    def evenly(self, count: int) -> list[int]:
        """Where ``count`` moments from the first to the last are, or all if there are fewer."""
        wanted = np.linspace(0, len(self.moments) - 1, min(count, len(self.moments)))
        return [int(index) for index in wanted.round()]

    def thinned(self, most: int) -> Attention:
        """With at most so many moments, at even distances."""
        return replace(self, moments=self.moments[:: -(-len(self.moments) // most)])

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the pictures."""
        return {
            "perturbation": self.perturbation,
            "source": self.source,
            "note": self.note,
            "saliency": self.saliency,
            "quantile": self.quantile,
            "mask_precision": self.precision,
            "agent_share": self.share,
            "ratio": self.ratio,
            "episode": self.episode.as_dict(),
            "steps": [moment.step for moment in self.moments],
            "values": [moment.value for moment in self.moments],
        }


def look(
    agent: Critic,
    on: str | Sequence[str] = TRAIN,
    *,
    moments: int = 125,
    seed: int | None = None,
    data: str | Path | None = None,
    quality: str | None = None,
    env: EnvLike | None = None,
    saliency: str | Sequence[str] = DEFAULT_MAP,
    quantile: float | None = None,
    progress: bool = True,
) -> list[Attention]:
    """Play one episode under each perturbation and see what the critic's first head looks at.

    Args:
        agent: acts deterministically.
        moments: at most this many per episode, at even distances.
        saliency: name of a map in ``foveal.saliency``, or "attention" for that of the agent's own attention module; or
            several names, to compare them.
        quantile: of the mask; by default the agent's own, or 0.95 if its method has none.
        progress: show a bar.

    The other arguments are those of ``foveal.evaluate``.

    Returns:
        One for each perturbation and map; those of one perturbation share their episode and stand together.

    Raises:
        FovealError: as ``foveal.evaluate``; also for an unknown map or one that the agent lacks, a quantile outside
            [0, 1), or no moments.
    """
    quantile = _own_quantile(agent) if quantile is None else quantile
    check_numbers(moments, quantile)
    seed = agent.seed + SEED_OFFSET if seed is None else seed
    watcher = _Watcher(agent, {name: _map_of(agent, name) for name in map_names(saliency)}, quantile, moments)
    plan = plan_for(agent, on, seed=seed, data=data, quality=quality, env=env)
    bar = tqdm(plan.perturbations, desc="looking", unit="episode", disable=not progress)
    return [attention for perturbation in bar for attention in watcher.watch(plan, perturbation)]


def check_numbers(moments: int, quantile: float = 0.0) -> None:
    """Refuse a mask's quantile outside [0, 1), or to show no moment of an episode.

    Raises:
        FovealError: one of these.
    """
    if not 0 <= quantile < 1:
        raise FovealError(f"quantile must be in [0, 1), not {quantile}")
    if moments < 1:
        raise FovealError(f"at least one moment of an episode must be shown, not {moments}")


def map_names(saliency: str | Sequence[str]) -> tuple[str, ...]:
    """One or several maps by name.

    Raises:
        FovealError: there is none, or one is named twice.
    """
    names = (saliency,) if isinstance(saliency, str) else tuple(saliency)
    if not names:
        raise FovealError(f"no saliency map is named: name {BUILT_IN!r} or one of {', '.join(SALIENCY.names())}")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise FovealError(f"the saliency map {twice[0]!r} is named twice; name every map once")
    return names


@dataclass(frozen=True)
class _Seen:
    step: int
    observation: Any
    action: Any
    agent: NDArray[np.bool_] | None


class _Watcher:
    """Plays an episode, keeps some of its observations, and takes their saliency afterwards in batches."""

    def __init__(self, agent: Critic, maps: Mapping[str, SaliencyMap], quantile: float, moments: int) -> None:
        self._agent = agent
        self._maps = maps
        self._quantile = quantile
        self._moments = moments

    def watch(self, plan: Plan, perturbation: str) -> Iterator[Attention]:
        with plan.open(perturbation) as env:
            seen = _Thinned(self._moments, env.spec_info.max_agent_steps)
            rewards: list[float] = []

            def act(observation: Any) -> Any:
                action = self._agent.predict(observation, deterministic=True)[0]
                seen.offer(lambda step: _Seen(step, observation, action, _agent_mask(env)))
                return action

            episode = rollout(env, act, seed=plan.seed, watch=lambda *step: rewards.append(step[2]))
            info = env.spec_info
            shown = seen.even()
        for name, saliency in self._maps.items():
            yield Attention(
                environment=info.id,
                perturbation=perturbation,
                source=info.perturbation_source,
                note=provenance(
                    info.perturbation_source,
                    info.perturbation_items,
                    info.perturbation_benchmark_items,
                    info.perturbation_complete,
                ),
                episode=episode,
                rewards=np.array(rewards),
                moments=tuple(self._see(shown, saliency)),
                saliency=name,
                quantile=self._quantile,
            )

    def _see(self, seen: Sequence[_Seen], saliency: SaliencyMap) -> Iterator[Moment]:
        for start in range(0, len(seen), _AT_ONCE):
            yield from self._see_at_once(seen[start : start + _AT_ONCE], saliency)

    def _see_at_once(self, seen: Sequence[_Seen], saliency: SaliencyMap) -> Iterator[Moment]:
        device = self._agent.device
        images = torch.as_tensor(np.stack([_image(s.observation) for s in seen]), device=device).float()  # (B, C, H, W)
        actions = _tensor([s.action for s in seen], device)  # (B, A) or (B,)
        vectors = [s.observation["vector"] for s in seen if isinstance(s.observation, Mapping)]
        vector = _tensor(vectors, device) if vectors else None  # (B, V)

        def first_head(pixels: Tensor) -> Tensor:
            return self._agent.values(pixels, actions, vector)[0]  # (B,)

        maps = saliency(first_head, images)  # (B, C, H, W)
        masks = quantile_mask(maps, self._quantile)[:, -1].cpu().numpy()  # (B, H, W), of the latest frame
        strengths = maps[:, -CHANNELS:].abs().amax(dim=1).float().cpu().numpy()  # (B, H, W)
        with torch.no_grad():
            values = first_head(images).float().tolist()
        frames = images[:, -CHANNELS:].permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()  # (B, H, W, 3)
        for one, frame, strength, mask, value in zip(seen, frames, strengths, masks, values, strict=True):
            yield Moment(one.step, frame, strength, mask, value, one.agent)


class _Thinned:
    """Items of a stream at even distances, at most twice as many in memory as wanted in the end.

    Args:
        wanted: how many.
        length: of the stream if it is known: then nothing is taken in vain.
    """

    def __init__(self, wanted: int, length: int | None = None) -> None:
        self._wanted = wanted
        self._stride = 1 if length is None else max(1, -(-length // wanted))
        self._step = 0
        self._kept: list[_Seen] = []

    def offer(self, item: Callable[[int], _Seen]) -> None:
        """Take the next item, if its turn has come; only then is it made."""
        if self._step % self._stride == 0:
            self._kept.append(item(self._step))
        self._step += 1
        if len(self._kept) > 2 * self._wanted:
            self._kept = self._kept[::2]
            self._stride *= 2

    def even(self) -> list[_Seen]:
        """At most as many as wanted."""
        return self._kept[:: -(-len(self._kept) // self._wanted)]


def _agent_mask(env: PixelEnv) -> NDArray[np.bool_] | None:
    try:
        return env.agent_mask()
    except FovealError:
        return None


def _image(observation: Any) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = observation["image"] if isinstance(observation, Mapping) else observation
    return image


def _tensor(items: Sequence[Any], device: torch.device) -> Tensor:
    """Discrete actions stay whole numbers, all else becomes ``float32``."""
    array = np.stack([np.asarray(item) for item in items])
    return torch.as_tensor(array, device=device).to(torch.int64 if array.dtype.kind in "iu" else torch.float32)


def _map_of(agent: Any, name: str) -> SaliencyMap:
    """A map by name, the built-in one in the form of the others: the same for all channels of an observation."""
    if name != BUILT_IN:
        return SALIENCY.get(name)
    if not getattr(agent, "has_attention", False):
        raise FovealError(
            f"this agent has no attention module whose map could be shown: train one with --encoder fls, or choose a "
            f"map that needs none: {', '.join(SALIENCY.names())}"
        )

    def built_in(fn: ScalarFunction, obs: Tensor) -> Tensor:
        maps = torch.from_numpy(agent.attention(obs.cpu().numpy())).to(obs.device)  # (B, H, W)
        return maps[:, None].expand_as(obs)  # (B, C, H, W)

    return built_in


def _own_quantile(agent: Any) -> float:
    method = getattr(getattr(agent, "config", None), "method_config", None)
    return float(getattr(method, "quantile", DEFAULT_QUANTILE))


def _mean(values: Iterator[float]) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None
