"""Training a shield: from frames of the trained look, changed by corruptions, back to these frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal import checkpoint
from foveal.checkpoint import Checkpoint
from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.fovea.frames import FrameSet
from foveal.fovea.learning import Learning
from foveal.shield.config import ShieldConfig
from foveal.shield.labels import environment_frames
from foveal.shield.measures import measure
from foveal.shield.shield import KIND, Shield
from foveal.training import Callback, Episode, RunOptions, Trainer, Work
from foveal.training.looking import Acts
from foveal.training.run_folder import refuse_existing

HELD_OUT = 0.1
ALARMS = 0.1
"""The share of frames under the corruptions of training whose doubt may be above the limit; of frames as they are none
that was kept back, so that of others at most about one in a hundred is."""


def train_shield(
    env: EnvLike,
    options: Mapping[str, Any] | None = None,
    config: ShieldConfig | None = None,
    *,
    policy: Acts | None = None,
    frames: FrameSet | None = None,
    seed: int = 0,
    run: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> Shield:
    """A shield for an environment's look.

    Args:
        env: id, environment or callable; with ``frames``, their name.
        options: keyword arguments of ``foveal.envs.make``, such as an agent's ``env_options``.
        config: its network and training.
        policy: the one that is to be protected; half of the frames are then from its episodes.
        frames: what it learns from, such as ``foveal.shield.camera_frames`` of a film; by default the environment's.
        seed: of everything random.
        run: a new folder with checkpoints, from which ``foveal.resume`` goes on after Ctrl-C or a kill.
        callbacks: see ``foveal.Callback``.
        progress: show bars.

    Raises:
        FovealError: nobody can tell which pixels are the task's own, or the run's folder exists.
        KeyboardInterrupt: after Ctrl-C, once the running step is done and a checkpoint is written.
    """
    config = config or ShieldConfig()
    if run is not None:
        refuse_existing(Path(run))
    if frames is None:
        frames = environment_frames(env, options or {}, config, seed, policy, progress=progress)
    work = shield_work(env, frames, config, seed, (options or {}).get("rendered_size"))
    Trainer(work, settings_of(config), run=run, callbacks=callbacks, progress=progress).train(config.steps)
    return work.agent


def shield_work(
    env: EnvLike, frames: FrameSet, config: ShieldConfig, seed: int, rendered_size: int | None = None
) -> ShieldWork:
    """The training of an untrained shield on frames of an environment, which may have been rendered at another size."""
    name = env if isinstance(env, str) else getattr(env, "__name__", type(env).__name__)
    shield = Shield(config, name, frames.pixels.shape[-1], seed, rendered_size=rendered_size)
    return ShieldWork(shield, frames)


def settings_of(config: ShieldConfig) -> RunOptions:
    """How often its training is saved and logged."""
    return RunOptions(evaluate_every=0, checkpoint_every=max(1, config.steps // 4), log_every=50)


def resumed(held: Checkpoint) -> ShieldWork:
    """The training that a checkpoint of a run belongs to."""
    shield = Shield.from_state(held.tensors, held.state)
    return ShieldWork(shield, FrameSet.from_arrays(held.segments["frames"]))


@dataclass(frozen=True)
class FramesOnDisk:
    """The frames as a part of a checkpoint that never changes."""

    frames: FrameSet
    name: str = "frames"
    sealed: bool = True

    def read(self) -> Mapping[str, NDArray[Any]]:
        """Its arrays."""
        return self.frames.arrays()


class ShieldWork(Work):
    """Learning from frames: see ``foveal.training.Work``. A step is one of the optimizer's."""

    kind = KIND
    what, unit = "shield", "step"
    agent: Shield

    def __init__(self, shield: Shield, frames: FrameSet) -> None:
        self.agent, self.frames, config = shield, frames, shield.config
        self.training, self.kept = frames.divided(HELD_OUT)
        self.device = torch.device("cpu")
        self.learning = Learning(shield.network, config, shield.image_size, shield.seed)
        self._latest: dict[str, Tensor] = {}

    @property
    def steps(self) -> int:
        """Of the optimizer."""
        return self.learning.steps

    @property
    def updates(self) -> int:
        """One a step."""
        return self.steps

    def settings(self) -> dict[str, Any]:
        """How it is built and trained, and on what."""
        shield = self.agent
        return {"shield": shield.config.as_dict(), "env": shield.env_id, "seed": shield.seed}

    def begin(self, target: int) -> None:
        """See whether the learning rate knows of so many steps.

        Raises:
            FovealError: there are more than it was configured for.
        """
        if target > self.agent.config.steps:
            raise FovealError(f"this shield's training ends after {self.agent.config.steps} steps, not {target}")

    def collect(self) -> Sequence[Episode]:
        """Everything is there already."""
        return ()

    def learn(self, after_update: Callable[[], None]) -> None:
        """One step; after the last one, the limit of doubt."""
        self._latest = self.learning.step(self.training)
        if self.steps == self.agent.config.steps:
            self._finish()
        after_update()

    def _finish(self) -> None:
        """Set the limit of doubt from frames that were kept back."""
        as_trained = measure(self.agent, self.kept)
        changed = self.learning.mixture(self.kept.pixels, self.kept.masks, self.learning.generator)
        doubt = np.concatenate([self.agent.restore(part).doubt for part in changed.split(self.agent.config.batch_size)])
        self.agent.limit = float(max(as_trained.doubt.max(), np.quantile(doubt, 1.0 - ALARMS)))
        masks = self.agent.config.masks
        self.agent.about = {"frames": len(self.frames), "masks": masks, "held_out": as_trained.as_dict()}

    def metrics(self) -> dict[str, float]:
        """The latest losses."""
        return {f"shield/{name}": float(value) for name, value in self._latest.items()}

    # --- state ----------------------------------------------------------------------------------------------------

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The shield and its optimizer."""
        tensors, state = self.agent.state()
        held, state["optimizer"] = checkpoint.optimizer_state(self.learning.optimizer)
        return {**tensors, **held}, state

    def state(self) -> dict[str, Any]:
        """Draws and counts."""
        return {"generator": self.learning.generator.get_state(), "steps": self.steps}

    def segments(self) -> Iterable[FramesOnDisk]:
        """The frames."""
        return (FramesOnDisk(self.frames),)

    def load_state(self, state: Mapping[str, Any], saved: Checkpoint) -> None:
        """Go on from ``agent_state`` and ``state``."""
        checkpoint.load_optimizer_state(self.learning.optimizer, saved.tensors, saved.state["optimizer"])
        checkpoint.load_generator_state(self.learning.generator, state["generator"])
        self.learning.steps = state["steps"]
