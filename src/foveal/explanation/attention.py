"""What an agent looks at during one episode: maps and masks of what it has inside, moment by moment."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.evaluation.insides import BUILT_IN, Insides, Scalar, insides_of
from foveal.evaluation.pixel_world import Policy
from foveal.evaluation.recording import Recording, Sight
from foveal.evaluation.rollouts import world_of
from foveal.evaluation.world import TRAIN, Bar, BringsWorld, World, WorldOptions
from foveal.explanation.pictures import Picture, brightest, resized
from foveal.saliency import CHANNELS, SALIENCY, quantile_mask
from foveal.saliency.evenness import Evenness, evenness

T = TypeVar("T")

AGENT = "agent"
"""Name of the part of a picture that is the agent's own body."""

AT_ONCE = 16
"""Observations per backward pass; bounds memory, not the result."""


@dataclass(frozen=True)
class Moment:
    """One step of an episode.

    Attributes:
        step: agent steps before it.
        frame: (H, W, 3) ``uint8``, what was seen.
        strength: (H, W) how much each pixel matters.
        mask: (H, W) the pixels at or above the quantile; None where there are no masks.
        value: the scalar that the map is of.
        parts: (H, W) bool by name: pixels that the simulator can tell apart.
        control: (H, W) the map of an agent that has learned nothing, or None.
        note: what else there is to say of it, in a word or three.
        views: other pictures of it by name, (H, W, 3).
        readings: other numbers of it by name.
    """

    step: int
    frame: Picture
    strength: NDArray[np.float32]
    mask: NDArray[np.bool_] | None
    value: float
    parts: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    control: NDArray[np.float32] | None = None
    note: str = ""
    views: Mapping[str, Picture] = field(default_factory=dict)
    readings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Attention:
    """One episode as one map shows it, with moments at even distances.

    Attributes:
        recording: the episode.
        insides: what the agent lets others look at.
        saliency: name of the map.
        of: name of the scalar that maps are of; None for the agent's first.
        quantile: of the masks; None where there are none.
        moments: in the order of their steps.
        brightest: strength that gets the brightest colour in all pictures; None if each has its own.
        evenness: of the maps that attention is drawn from, on their own grid; None where there are none.
        grid: (h, w) of these.
    """

    recording: Recording
    insides: Insides
    saliency: str
    of: str | None
    quantile: float | None
    moments: tuple[Moment, ...]
    brightest: float | None = None
    evenness: Evenness | None = None
    grid: tuple[int, int] = (0, 0)

    @property
    def scalar(self) -> Scalar:
        """What the map is of."""
        return self.insides.scalar(self.of)

    @property
    def apart(self) -> int:
        """Agent steps from one moment to the next."""
        return self.moments[1].step - self.moments[0].step if len(self.moments) > 1 else 0

    @property
    def precision(self) -> float | None:
        """Share of the mask that lies on the agent's own pixels, averaged over the moments; None if nobody can tell."""
        pairs = [(m.parts[AGENT], m.mask) for m in self.moments if AGENT in m.parts and m.mask is not None]
        return _mean(float(agent[mask].mean()) for agent, mask in pairs)

    @property
    def share(self) -> float | None:
        """Share of the picture that the agent's own pixels are: the precision of a mask laid at random."""
        return _mean(float(m.parts[AGENT].mean()) for m in self.moments if AGENT in m.parts)

    @property
    def ratio(self) -> float | None:
        """Precision over share: how many times as often as by chance the mask lies on the agent."""
        return self.precision / self.share if self.precision is not None and self.share else None

    @property
    def weight(self) -> float | None:
        """Share of all saliency that lies on the agent's own pixels, averaged over the moments; None as above."""
        pairs = [(m.parts[AGENT], m.strength) for m in self.moments if AGENT in m.parts and m.strength.any()]
        return _mean(float(strength[agent].sum() / strength.sum()) for agent, strength in pairs)

    def evenly(self, count: int) -> list[int]:
        """Where ``count`` moments from the first to the last are, or all if there are fewer."""
        wanted = np.linspace(0, len(self.moments) - 1, min(count, len(self.moments)))
        return [int(index) for index in wanted.round()]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the pictures."""
        return {
            "perturbation": self.recording.condition,
            "source": self.recording.source,
            "note": self.recording.note,
            "saliency": self.saliency,
            "quantile": self.quantile,
            "mask_precision": self.precision,
            "agent_share": self.share,
            "ratio": self.ratio,
            "evenness": None if self.evenness is None else self.evenness.as_dict(),
            "episode": self.recording.episode.as_dict(),
            "steps": [moment.step for moment in self.moments],
            "values": [moment.value for moment in self.moments],
        }


@dataclass(frozen=True)
class Lens:
    """Which maps of an agent are looked at.

    Attributes:
        insides: the agent's.
        names: of the maps.
        quantile: of their masks, or None.
        of: name of the scalar that they are of; None for the agent's first.
    """

    insides: Insides
    names: tuple[str, ...]
    quantile: float | None
    of: str | None

    @classmethod
    def on(
        cls, agent: Any, saliency: str | Sequence[str] | None, quantile: float | None = None, of: str | None = None
    ) -> Lens:
        """With what was asked for checked; arguments as for ``look``.

        Raises:
            FovealError: a map or a scalar is unknown or not there, a map is named twice, or the quantile is out of
                range.
        """
        insides = insides_of(agent)
        names = insides.usual if saliency is None else _names(saliency)
        for name in names:
            insides.check_map(name)
        insides.scalar(of)
        if quantile is not None and insides.quantile is None:
            raise FovealError(f"maps of {agent.env_id} have no masks: leave quantile out")
        quantile = insides.quantile if quantile is None else quantile
        if quantile is not None and not 0 <= quantile < 1:
            raise FovealError(f"quantile must be in [0, 1), not {quantile}")
        return cls(insides, names, quantile, of)

    def strengths(self, name: str, sights: Sequence[Sight]) -> NDArray[np.float32]:
        """(N, h, w) of one map, as large as what the network sees."""
        return _in_batches(sights, lambda seen: self._look(self.insides, name, seen))

    def look(self, recording: Recording, moments: int) -> list[Attention]:
        """An episode as each of the maps shows it, with at most so many moments."""
        stride = -(-len(recording.sights) // moments)
        sights = list(islice(recording.sights, 0, None, stride))
        values = _in_batches(sights, self._values).tolist()
        beside = [self._beside(sight.observation) for sight in sights]
        return [self._attention(recording, sights, name, values, beside) for name in self.names]

    def _beside(self, observation: Any) -> dict[str, Any]:
        """What a moment has that no map changes."""
        views = {name: view.draw(observation) for name, view in self.insides.views.items()}
        readings = {name: reading.read(observation) for name, reading in self.insides.readings.items()}
        return {"views": views, "readings": readings}

    def _attention(
        self,
        recording: Recording,
        sights: Sequence[Sight],
        name: str,
        values: Sequence[float],
        beside: Sequence[Mapping[str, Any]],
    ) -> Attention:
        size = sights[0].picture.shape[:2]
        maps = self.strengths(name, sights)
        strengths, control = resized(maps, size), self._control(name, sights, size)
        masks: Sequence[Any] = [None] * len(sights)
        if self.quantile is not None:
            frames = torch.from_numpy(strengths)[:, None].expand(-1, CHANNELS, -1, -1)
            masks = list(quantile_mask(frames, self.quantile)[:, 0].numpy())
        moments = tuple(
            Moment(sight.step, sight.picture, strength, mask, value, sight.parts, chance, sight.note, **other)
            for sight, strength, mask, value, chance, other in zip(
                sights, strengths, masks, values, control, beside, strict=True
            )
        )
        scale = brightest(name, maps) if self.insides.same_scale else None
        grids = self._grids(sights) if name == BUILT_IN else None
        told: dict[str, Any] = {} if grids is None else {"evenness": evenness(grids), "grid": grids.shape[1:]}
        return Attention(recording, self.insides, name, self.of, self.quantile, moments, scale, **told)

    def _grids(self, sights: Sequence[Sight]) -> NDArray[np.float32] | None:
        """(N, h, w), what attention is drawn from."""
        grids = self.insides.grids
        if grids is None:
            return None
        return np.concatenate([grids([sight.observation for sight in batch]) for batch in batches(sights)])

    def _control(self, name: str, sights: Sequence[Sight], size: tuple[int, ...]) -> Sequence[Any]:
        control = self.insides.control
        if control is None:
            return [None] * len(sights)
        return list(resized(_in_batches(sights, lambda seen: self._look(control, name, seen)), size))

    def _look(self, insides: Insides, name: str, sights: Sequence[Sight]) -> Tensor:
        return insides.look(name, [s.observation for s in sights], [s.action for s in sights], self.of)

    def _values(self, sights: Sequence[Sight]) -> Tensor:
        observations = [sight.observation for sight in sights]
        fn = self.insides.scalar(self.of).bind(observations, [sight.action for sight in sights])
        with torch.no_grad():
            return fn(self.insides.pixels(observations)).float().cpu()


def look(
    agent: Policy | BringsWorld,
    on: str | Sequence[str] | None = TRAIN,
    *,
    moments: int = 125,
    seed: int | None = None,
    data: str | Path | None = None,
    quality: str | None = None,
    env: EnvLike | None = None,
    skill: int | None = None,
    saliency: str | Sequence[str] | None = None,
    quantile: float | None = None,
    of: str | None = None,
    progress: bool = True,
) -> list[Attention]:
    """Play one episode under each condition and see what the agent looks at.

    Args:
        agent: acts as in ``foveal.evaluate``.
        moments: at most this many per episode, at even distances.
        skill, saliency, quantile, of: see ``foveal.explain``.
        progress: show a bar.

    The other arguments are those of ``foveal.evaluate``.

    Returns:
        One for each condition and map; those of one condition share their episode and stand together.

    Raises:
        FovealError: as ``foveal.evaluate``; also for an unknown map or one that the agent lacks, an unknown scalar, a
            quantile outside [0, 1), or no moments.
    """
    if moments < 1:
        raise FovealError(f"at least one moment of an episode must be shown, not {moments}")
    lens = Lens.on(agent, saliency, quantile, of)
    world = world_of(agent, WorldOptions(on, seed, data, quality, env, skill=skill))
    with closing(recorded(world, moments, progress=progress)) as recordings:
        return [attention for recording in recordings for attention in lens.look(recording, moments)]


def recorded(world: World, most: int, *, progress: bool) -> Generator[Recording, None, None]:
    """One episode under each condition of a world, one after the other; arguments as for ``World.record``."""
    with closing(world), Bar(len(world.conditions), visible=progress) as bar:
        for condition in world.conditions:
            yield world.record(condition, most, bar)


def _names(saliency: str | Sequence[str]) -> tuple[str, ...]:
    names = (saliency,) if isinstance(saliency, str) else tuple(saliency)
    if not names:
        raise FovealError(f"no saliency map is named: name {BUILT_IN!r} or one of {', '.join(SALIENCY.names())}")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise FovealError(f"the saliency map {twice[0]!r} is named twice; name every map once")
    return names


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """As many at once as a backward pass takes."""
    left = iter(items)
    while batch := list(islice(left, AT_ONCE)):
        yield batch


def _in_batches(sights: Sequence[Sight], fn: Any) -> NDArray[np.float32]:
    return np.concatenate([fn(batch).numpy() for batch in batches(sights)])


def _mean(values: Iterator[float]) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None
