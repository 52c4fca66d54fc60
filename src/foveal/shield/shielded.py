"""A policy behind a shield: where it acts, what of it can be looked at, how it is exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import FovealError
from foveal.evaluation.insides import Decision, Insides, Reading, Scalar, View, insides_of
from foveal.evaluation.pixel_world import Adapt, Adapting, PixelWorld, pixel_world
from foveal.evaluation.recording import Recording
from foveal.evaluation.results import Condition
from foveal.evaluation.world import Bar, WorldOptions
from foveal.shield.exporting import export_behind
from foveal.shield.wrapping import RestoresFrames, Through

LOOKED_AT = 500
"""Frames that are remembered while a policy is looked at, which takes several rounds: those of 125 stacks of four."""
SHADOW = 0.2
"""How bright pictures of masks are where a pixel is not the task's own."""


@dataclass
class Alarms:
    """How often doubt was above its limit.

    Attributes:
        acted: observations acted on.
        raised: of these, those that were not to be trusted.
    """

    acted: int = 0
    raised: int = 0

    def count(self, alarm: bool) -> None:
        """One more observation."""
        self.acted += 1
        self.raised += alarm

    def clear(self) -> None:
        """Begin anew."""
        self.acted = self.raised = 0

    @property
    def share(self) -> float | None:
        """Of alarms among observations; None where nothing was acted on."""
        return self.raised / self.acted if self.acted else None


@dataclass(frozen=True)
class ShieldedWorld(PixelWorld):
    """The world of a policy behind a shield, which tells how often the shield doubted.

    Attributes:
        alarms: of the shield, counted anew under every condition.
    """

    alarms: Alarms = field(default_factory=Alarms)

    def play(self, condition: str, episodes: int, bar: Bar) -> tuple[dict[str, Any], Condition]:
        """One stream of episodes, with the share of steps in which the frame was not to be trusted."""
        self.alarms.clear()
        about, played = super().play(condition, episodes, bar)
        return about, replace(played, alarms=self.alarms.share)

    def record(self, condition: str, most: int, bar: Bar) -> Recording:
        """One episode; its pictures are what came in."""
        recording = super().record(condition, most, bar)
        words = replace(
            recording.words,
            picture="frame as it came",
            shows="what the camera sees, before the shield; of a stack the newest",
        )
        return replace(recording, words=words)


class Shielded:
    """A policy behind a shield: it acts on frames as they looked in its training.

    Whatever else the policy has, this has too.

    Args:
        shield: the shield.
        policy: anything with ``predict``.
        cameras: keys of the pictures where observations are dicts; None for the only one.

    Attributes:
        see: observations through the shield.
        alarms: how often it was not to be trusted.
    """

    def __init__(self, shield: RestoresFrames, policy: Any, cameras: tuple[str, ...] | None = None) -> None:
        if not hasattr(policy, "predict"):
            raise FovealError(
                f"a {type(policy).__name__} has no predict(observation), so no shield can stand before it"
            )
        self.shield, self.policy = shield, policy
        self.see = Through(shield, cameras)
        self.alarms = Alarms()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def predict(self, observation: Any, *arguments: Any, **options: Any) -> Any:
        """The policy's answer to the restored observation."""
        given = self.see(observation)
        self.alarms.count(not self.trusted)
        return self.policy.predict(given, *arguments, **options)

    @property
    def doubt(self) -> float:
        """The shield's, in percent, of the frame acted on last: see ``foveal.shield.wrapping.Restored``."""
        return self.see.doubt

    @property
    def trusted(self) -> bool:
        """Whether that is within the limit: a robot may stop where it is not."""
        return self.doubt <= self.shield.limit

    @property
    def method_name(self) -> str:
        """The policy's, with the shield before it, and whether that knew a simulator's masks."""
        note = " (privileged)" if getattr(self.shield, "privileged", False) else ""
        return f"{getattr(self.policy, 'method_name', type(self.policy).__name__)} behind a shield{note}"

    def world(self, options: WorldOptions) -> PixelWorld:
        """Where ``foveal.evaluate`` and ``foveal.explain`` let it act."""
        world = ShieldedWorld(**vars(pixel_world(self, options)), alarms=self.alarms)
        return replace(world, adapting=self._through(world.adapting), workers=1)  # alarms are counted by condition

    def _through(self, adapting: Adapting) -> Adapting:
        """What learns at test time learns from what the policy is given."""

        @contextmanager
        def shielded() -> Iterator[Adapt | None]:
            with adapting() as adapt:
                if adapt is None:
                    yield None
                else:
                    yield lambda seen, action, reward, following, over: adapt(
                        self.see(seen), action, reward, self.see(following), over
                    )

        return shielded

    def insides(self) -> Insides:
        """What ``foveal.explain`` may look at: the policy's, of what it is given, and the shield's own."""
        inner, see = insides_of(self.policy), Through(self.shield, self.see.cameras, LOOKED_AT)

        def given(observations: Sequence[Any]) -> list[Any]:
            return [see(one) for one in observations]

        def scalar(of: Scalar) -> Scalar:
            return replace(of, bind=lambda seen, actions: of.bind(given(seen), actions))

        def deciding(of: Decision) -> Decision:
            return replace(of, bind=lambda seen, actions: of.bind(given(seen), actions))

        def own(made: Callable[[Sequence[Any]], Tensor]) -> Callable[[Sequence[Any]], Tensor]:
            return lambda seen: made(given(seen))

        def view(of: View) -> View:
            return replace(of, draw=lambda one: of.draw(see(one)))

        def task(seen: Sequence[Any]) -> Tensor:
            return torch.from_numpy(np.stack([see.newest(one).mask for one in seen]))

        limit = self.shield.limit if np.isfinite(self.shield.limit) else None
        return replace(
            inner,
            scalars={name: scalar(of) for name, of in inner.scalars.items()},
            pixels=lambda seen: inner.pixels(given(seen)),
            maps={**{name: own(made) for name, made in inner.maps.items()}, "shield": task},
            views={
                **{name: view(of) for name, of in inner.views.items()},
                "given": View(
                    lambda one: see.newest(one).given.transpose(1, 2, 0),
                    "what the shield made of it and the policy acts on",
                    beneath=True,
                ),
                "task": View(
                    lambda one: lit(see.newest(one).given, see.newest(one).mask),
                    "the same, dark where the shield takes pixels for none of the task's own",
                ),
            },
            decision=None if inner.decision is None else deciding(inner.decision),
            readings={
                **inner.readings,
                "shield's doubt": Reading(lambda one: float(see.newest(one).doubt), "percent", limit),
            },
        )

    def export(self, path: str | Path) -> Path:
        """Write shield and deterministic policy as one ONNX file, checked against PyTorch; needs the extra ``onnx``.

        It takes observations as the environment gives them, and gives ``action`` and ``doubt``, that of the newest
        frame.

        Raises:
            FovealError: the extra is missing, the policy or the shield can't be exported, the file can't be written,
                or it disagrees with PyTorch.
        """
        return export_behind(self.shield, self.policy, Path(path))


def lit(given: NDArray[np.uint8], mask: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture of a mask: the frame, (3, H, W), dark where the mask, (H, W), is 0; as (H, W, 3)."""
    brightness = SHADOW + (1.0 - SHADOW) * mask[..., None]
    picture: NDArray[np.uint8] = (given.transpose(1, 2, 0) * brightness).astype(np.uint8)
    return picture
