"""How skills are cloned and how the master learns, typed and checked; named starting points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from foveal.config.bounds import PART, POSITIVE, SHARE, Bounded, at_least, one_of
from foveal.config.tree import changed
from foveal.errors import FovealError
from foveal.learners.ppo import NORMALISATIONS, VALUE_LOSSES, PPOConfig
from foveal.networks.film_resnet import POOLINGS
from foveal.networks.precision import PRECISIONS
from foveal.registry import nearest
from foveal.skills.augmentation import TRANSFORMS

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class CloneConfig(Bounded, section="skills"):
    """Behaviour cloning of skills. The defaults are HRL-BC's, but for the size of pictures, which the data set has.

    Attributes:
        stack: depth frames that the network sees, the present one last.
        near: metres that become -1.
        far: metres that become 1.
        relief: metres by which a pixel is nearer than what is around it that become 1 in channels of their own, see
            ``foveal.networks.film_resnet.Relief``; 0 leaves them out.
        horizons: which of the next actions are predicted; the first is carried out.
        early: steps by which the gripper's labels come before what the expert did.
        gripper: weight of the gripper's cross-entropy.
        velocity: weight of the squared error of standardised velocities.
        stem: channels of the network's first convolution, see ``foveal.networks.film_resnet.FilmResNet``.
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

    stack: Annotated[int, at_least(1)] = 3
    near: Annotated[float, at_least(0)] = 0.5
    far: Annotated[float, POSITIVE] = 2.0
    relief: Annotated[float, at_least(0)] = 0.0
    horizons: Annotated[tuple[int, ...], at_least(1)] = (1, 10, 20, 30)
    early: Annotated[int, at_least(0)] = 5
    gripper: Annotated[float, at_least(0)] = 0.1
    velocity: Annotated[float, at_least(0)] = 0.9
    stem: Annotated[int, at_least(1)] = 64
    widths: Annotated[tuple[int, ...], at_least(1)] = (32, 64, 128, 256)
    blocks: Annotated[tuple[int, ...], at_least(1)] = (2, 2, 2, 2)
    strides: Annotated[tuple[int, ...], at_least(1)] = (1, 2, 2, 2)
    pooling: Annotated[str, one_of(*POOLINGS)] = "average"
    learning_rate: Annotated[float, POSITIVE] = 1e-3
    decay: bool = False
    batch_size: Annotated[int, at_least(1)] = 64
    epochs: Annotated[int, at_least(1)] = 101
    held_out: Annotated[float, PART] = 0.05
    rollouts: Annotated[int, at_least(0)] = 25
    rollouts_every: Annotated[int, at_least(1)] = 10
    augmentation: Annotated[tuple[tuple[str, float, float], ...], one_of(*TRANSFORMS), SHARE] = ()
    precision: Annotated[str, one_of(*PRECISIONS)] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.near >= self.far:
            raise FovealError(f"skills.near {self.near} must be below far {self.far}")
        if not self.horizons or self.horizons[0] != 1:
            raise FovealError(f"horizons must begin with 1, the action that is carried out, not {self.horizons}")
        if not len(self.widths) == len(self.blocks) == len(self.strides) or not self.widths:
            raise FovealError("widths, blocks and strides must have as many entries each, one for every stage")

    @property
    def relief_height(self) -> float:
        """``relief`` in the network's unit, in which ``near`` is -1 and ``far`` 1."""
        return self.relief * 2.0 / (self.far - self.near)

    @property
    def outputs(self) -> int:
        """Of the network: two gripper logits and three velocities for every horizon."""
        return 5 * len(self.horizons)


@dataclass(frozen=True)
class MasterConfig(PPOConfig, section="master"):
    """PPO over skills: its hyperparameters, see ``PPOConfig``, and those of its arms. The defaults are HRL-BC's.

    Attributes:
        decisions: in total.
        skill_steps: control steps that a chosen skill runs.
        environments: arms side by side.
        rollout: decisions of each between updates.
        gae_lambda: 1 takes bootstrapped returns, without generalized advantage estimation.
        channels: of both convolutions of actor and critic.
    """

    decisions: Annotated[int, at_least(1)] = 8000
    skill_steps: Annotated[int, at_least(1)] = 60
    environments: Annotated[int, at_least(1)] = 8
    rollout: Annotated[int, at_least(1)] = 10
    minibatches: Annotated[int, at_least(1)] = 8
    epochs: Annotated[int, at_least(1)] = 5
    learning_rate: Annotated[float, POSITIVE] = 7e-4
    decay_learning_rate: bool = False
    gae_lambda: Annotated[float, SHARE] = 1.0
    bootstrap_timeouts: bool = False
    clip: Annotated[float, POSITIVE] = 0.2
    decay_clip: bool = False
    value_loss: Annotated[str, one_of(*VALUE_LOSSES)] = "plain"
    normalise_advantages: Annotated[str, one_of(*NORMALISATIONS)] = "rollout"
    entropy: Annotated[float, at_least(0)] = 0.05
    value: Annotated[float, at_least(0)] = 1.0
    channels: Annotated[int, at_least(1)] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_minibatches(self.environments)

    @property
    def batch_size(self) -> int:
        """Decisions in a minibatch."""
        return self.environments * self.rollout // self.minibatches


# A single frame: with several, what the arm did is the best guess of what it is to do, and it never settles above the
# cube. ResNet-10, narrow, whose stages keep 11x11 places of an 84x84 picture (published: 7x7 of 224x224) for a head
# that looks for places: a few hundred scenes can't teach averages over channels where things are.
_COMPACT_NETWORK = {
    "stack": 1,
    "stem": 32,
    "widths": (32, 48, 64, 64),
    "blocks": (1, 1, 1, 1),
    "strides": (1, 2, 1, 1),
    "pooling": "points",
    "relief": 0.05,
}
# What ``benchmarks/augmentation_search.py`` found on demonstrations of ``ur5e/bowl``: results/hrl-bc/augmentation.json.
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
# As Stable-Baselines3 trains by default, but for its factor of the value loss.
WITH_TIMEOUTS: dict[str, Any] = {"bootstrap_timeouts": True, "normalise_advantages": "minibatch"}
MASTER_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "compact": {
        "decisions": 3200,
        "minibatches": 4,
        "epochs": 10,
        "learning_rate": 1e-3,
        "entropy": 0.02,
    },
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
    return configured(CloneConfig(), CLONE_PRESETS, preset, changes or {}, "skills")


def master_config(preset: str = "compact", changes: Mapping[str, Any] | None = None) -> MasterConfig:
    """A preset with changes.

    Raises:
        FovealError: as ``clone_config``.
    """
    return configured(MasterConfig(), MASTER_PRESETS, preset, changes or {}, "master")


def stored_master_config(state: Mapping[str, Any]) -> MasterConfig:
    """The configuration of a master or of a policy of every step that was saved.

    Earlier versions knew fewer settings, and their value loss had no factor of 0.5.
    """
    if "value_loss" not in state:
        state = {**state, **WITH_TIMEOUTS, "value": 2.0 * state["value"]}
    return master_config("paper", state)


def configured(
    base: Settings, presets: Mapping[str, dict[str, Any]], preset: str, changes: Mapping[str, Any], section: str
) -> Settings:
    """Settings with those of a preset and with changes.

    Raises:
        FovealError: an unknown preset or setting, or a value out of range or of the wrong type.
    """
    if preset not in presets:
        raise FovealError(f"unknown preset {preset!r}: {nearest(preset, list(presets))}")
    result: Settings = changed(changed(base, presets[preset], section), changes, section)
    return result
