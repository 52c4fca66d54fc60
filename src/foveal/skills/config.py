"""How skills are cloned and how the master learns, typed and checked; named starting points."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from foveal.config import changed, check_least
from foveal.errors import FovealError
from foveal.networks.film import POOLINGS
from foveal.networks.precision import PRECISIONS
from foveal.registry import nearest

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class CloneConfig:
    """Behaviour cloning of skills. The defaults are HRL-BC's, but for the size of pictures, which the data set has.

    Attributes:
        stack: depth frames that the network sees, the present one last.
        near: metres that become -1.
        far: metres that become 1.
        relief: metres by which a pixel is nearer than what is around it that become 1 in channels of their own, see
            ``foveal.networks.film.Relief``; 0 leaves them out.
        horizons: which of the next actions are predicted; the first is carried out.
        early: steps by which the gripper's labels come before what the expert did.
        gripper: weight of the gripper's cross-entropy.
        velocity: weight of the squared error of standardised velocities.
        stem: channels of the network's first convolution, see ``foveal.networks.film.FilmResNet``.
        widths: channels of its stages.
        blocks: residual blocks in each stage.
        strides: of each stage's first block.
        pooling: what its head sees: ``"average"`` over places, or ``"points"``, where things are.
        learning_rate: Adam's.
        decay: let the learning rate fall to 0 along a half cosine.
        batch_size: samples in a minibatch.
        epochs: passes over as many samples as there are, every skill drawn equally often.
        held_out: share of the episodes that is kept for the validation loss.
        rollouts: episodes of the script that choose the best epoch; with 0 it is the last.
        rollouts_every: epochs between these choices, counted from the last.
        augmentation: (name, magnitude, probability) of transforms of depth, see ``foveal.skills.augmentation``.
        precision: of convolutions: "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16".
    """

    stack: int = 3
    near: float = 0.5
    far: float = 2.0
    relief: float = 0.0
    horizons: tuple[int, ...] = (1, 10, 20, 30)
    early: int = 5
    gripper: float = 0.1
    velocity: float = 0.9
    stem: int = 64
    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    pooling: str = "average"
    learning_rate: float = 1e-3
    decay: bool = False
    batch_size: int = 64
    epochs: int = 101
    held_out: float = 0.05
    rollouts: int = 25
    rollouts_every: int = 10
    augmentation: tuple[tuple[str, float, float], ...] = ()
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_least(self, "skills", 1, "stack", "stem", "batch_size", "epochs", "rollouts_every")
        check_least(self, "skills", 0, "early", "gripper", "velocity", "learning_rate", "rollouts", "held_out")
        check_least(self, "skills", 0, "relief")
        if not 0.0 <= self.near < self.far or self.held_out >= 1.0:
            raise FovealError(f"near {self.near} must be below far {self.far}, and held_out {self.held_out} below 1")
        if not self.horizons or self.horizons[0] != 1 or any(step < 1 for step in self.horizons):
            raise FovealError(f"horizons must begin with 1, the action that is carried out, not {self.horizons}")
        if not len(self.widths) == len(self.blocks) == len(self.strides) or not self.widths:
            raise FovealError("widths, blocks and strides must have as many entries each, one for every stage")
        for name, known in (("pooling", POOLINGS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise FovealError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(known)}")

    @property
    def relief_height(self) -> float:
        """``relief`` in the network's unit, in which ``near`` is -1 and ``far`` 1."""
        return self.relief * 2.0 / (self.far - self.near)

    @property
    def outputs(self) -> int:
        """Of the network: two gripper logits and three velocities for every horizon."""
        return 5 * len(self.horizons)


@dataclass(frozen=True)
class MasterConfig:
    """PPO over skills. The defaults are HRL-BC's.

    Attributes:
        decisions: in total.
        skill_steps: control steps that a chosen skill runs.
        environments: arms side by side.
        rollout: decisions of each between updates.
        minibatches: parts into which what was played is divided, in every epoch anew.
        epochs: passes over what was played.
        learning_rate: Adam's.
        discount: gamma, per decision.
        gae_lambda: 1 takes bootstrapped returns, without generalized advantage estimation.
        clip: range of the probability ratio.
        entropy: coefficient of the policy's entropy.
        value: coefficient of the value loss.
        channels: of both convolutions of actor and critic.
    """

    decisions: int = 8000
    skill_steps: int = 60
    environments: int = 8
    rollout: int = 10
    minibatches: int = 8
    epochs: int = 5
    learning_rate: float = 7e-4
    discount: float = 0.99
    gae_lambda: float = 1.0
    clip: float = 0.2
    entropy: float = 0.05
    value: float = 1.0
    channels: int = 64

    def __post_init__(self) -> None:
        names = ("decisions", "skill_steps", "environments", "rollout", "minibatches", "epochs", "channels")
        check_least(self, "master", 1, *names)
        check_least(self, "master", 0, "learning_rate", "discount", "gae_lambda", "clip", "entropy", "value")
        if self.environments * self.rollout % self.minibatches or self.batch_size < 2:
            raise FovealError(
                f"master.minibatches is {self.minibatches}: it must divide environments * rollout, which is "
                f"{self.environments * self.rollout}, into parts of at least 2"
            )

    @property
    def batch_size(self) -> int:
        """Decisions in a minibatch."""
        return self.environments * self.rollout // self.minibatches


# A single frame: with several, what the arm did is the best guess of what it is to do, and it never settles above the
# cube. ResNet-10, narrow, whose stages keep 11x11 places of an 84x84 picture (published: 7x7 of 224x224) for a head
# that looks for places: a few hundred scenes can't teach averages over channels where things are. Five steps early is
# too early for a gripper that closes while its arm still slows down over its last 8 cm.
_COMPACT_NETWORK = {
    "stack": 1,
    "stem": 32,
    "widths": (32, 48, 64, 64),
    "blocks": (1, 1, 1, 1),
    "strides": (1, 2, 1, 1),
    "pooling": "points",
    "early": 0,
    "relief": 0.05,
}
# What ``foveal skills search`` found on demonstrations of ``ur5e/bowl``: results/hrl-bc/augmentation.json.
_COMPACT_AUGMENTATION = (("scale", 0.02, 0.65), ("erase_object", 0.24, 0.73), ("white_noise", 0.07, 0.74))
CLONE_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "compact": {
        **_COMPACT_NETWORK,
        "augmentation": _COMPACT_AUGMENTATION,
        "batch_size": 128,
        "decay": True,
        "epochs": 2,
        "rollouts_every": 1,
    },
    "debug": {
        "stem": 8,
        "widths": (8, 8, 8, 8),
        "blocks": (1, 1, 1, 1),
        "pooling": "points",
        "batch_size": 16,
        "epochs": 1,
        "rollouts": 1,
        "rollouts_every": 1,
        "held_out": 0.25,
    },
}
MASTER_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "compact": {"decisions": 3200, "minibatches": 4, "epochs": 10, "learning_rate": 1e-3, "entropy": 0.02},
    "debug": {
        "decisions": 8,
        "skill_steps": 3,
        "environments": 2,
        "rollout": 2,
        "minibatches": 2,
        "epochs": 1,
        "channels": 4,
    },
}


def clone_config(preset: str = "compact", changes: Mapping[str, Any] | None = None) -> CloneConfig:
    """A preset with changes.

    Raises:
        FovealError: an unknown preset or setting, or a value out of range or of the wrong type.
    """
    return _configured(CloneConfig(), CLONE_PRESETS, preset, changes or {}, "skills")


def master_config(preset: str = "compact", changes: Mapping[str, Any] | None = None) -> MasterConfig:
    """A preset with changes.

    Raises:
        FovealError: as ``clone_config``.
    """
    return _configured(MasterConfig(), MASTER_PRESETS, preset, changes or {}, "master")


def _configured(
    base: Settings, presets: Mapping[str, dict[str, Any]], preset: str, changes: Mapping[str, Any], section: str
) -> Settings:
    if preset not in presets:
        raise FovealError(f"unknown preset {preset!r}: {nearest(preset, list(presets))}")
    result: Settings = changed(changed(base, presets[preset], section), changes, section)
    return result


def as_dict(settings: Any) -> dict[str, Any]:
    """Settings as JSON takes them."""
    return dataclasses.asdict(settings)
