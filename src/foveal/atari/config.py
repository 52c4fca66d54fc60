"""The configuration of an Atari agent: PPO's hyperparameters as Free-Lunch Saliency trains with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from foveal.atari import games
from foveal.config.bounds import DEVICE, Bounded, at_least, one_of
from foveal.config.tree import changed, checked_seed
from foveal.errors import FovealError
from foveal.learners.ppo import PPOConfig
from foveal.networks.precision import PRECISIONS
from foveal.registry import nearest

LEARNER = "ppo"


@dataclass(frozen=True)
class AtariPPOConfig(PPOConfig, section="ppo"):
    """PPO's hyperparameters, see ``PPOConfig``, and those of its games.

    The defaults are those of Nikulin et al. (2019), which are OpenAI Baselines' own.

    Attributes:
        environments: games played side by side.
        life_loss: a lost life ends an episode, though not the game.
    """

    environments: Annotated[int, at_least(1)] = 8
    life_loss: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.environments * self.rollout % self.minibatches or self.batch_size < 2:
            raise FovealError(
                f"{LEARNER}.minibatches is {self.minibatches}: it must divide environments * rollout, which is "
                f"{self.environments * self.rollout}, into parts of at least 2"
            )

    @property
    def batch_size(self) -> int:
        """Agent steps in a minibatch."""
        return self.environments * self.rollout // self.minibatches


@dataclass(frozen=True)
class HardwareConfig(Bounded, section="training"):
    """What an agent runs on.

    Attributes:
        precision: of convolutions: "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16".
        device: "auto", "cpu", "cuda".
    """

    precision: Annotated[str, one_of(*PRECISIONS)] = "auto"
    device: Annotated[str, DEVICE] = "auto"


@dataclass(frozen=True)
class AtariConfig:
    """Everything that determines a run, beside the code.

    Attributes:
        env: id of the game, as ``games.env_id`` spells it.
        encoder: name of the network.
        preset: what the sections started from.
        seed: of everything random.
        training: see ``HardwareConfig``.
        ppo: see ``AtariPPOConfig``.
    """

    env: str
    encoder: str
    preset: str
    seed: int
    training: HardwareConfig = field(default_factory=HardwareConfig)
    ppo: AtariPPOConfig = field(default_factory=AtariPPOConfig)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "env": self.env,
            "learner": LEARNER,
            "encoder": self.encoder,
            "preset": self.preset,
            "seed": self.seed,
            "training": dataclasses.asdict(self.training),
            LEARNER: dataclasses.asdict(self.ppo),
        }


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {},
    "compact": {},
    "debug": {LEARNER: {"environments": 2, "rollout": 16, "minibatches": 2, "epochs": 1}},
}
STEPS = {"paper": 50_000_000, "compact": 1_000_000, "debug": 128}
"""Agent steps of a run where none are given."""


def configure(
    env: str,
    encoder: str = "sparse-fls",
    preset: str = "paper",
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
) -> AtariConfig:
    """A preset with overrides on top.

    Args:
        overrides: section, ``training`` or ``ppo``, -> its changed settings, or the whole dataclass.

    Raises:
        FovealError: an unknown game, preset, section or setting, or a value out of range or of the wrong type.
    """
    if preset not in PRESETS:
        raise FovealError(f"unknown preset {preset!r}: {nearest(preset, list(PRESETS))}")
    sections: dict[str, Any] = {"training": HardwareConfig(), LEARNER: AtariPPOConfig()}
    for name, override in (overrides or {}).items():
        if name not in sections:
            raise FovealError(f"unknown section {name!r}: {nearest(name, list(sections))}")
        if not isinstance(override, Mapping | type(sections[name])):
            raise FovealError(f"{name} must hold settings by name, not {override!r}")
    for name, base in sections.items():
        override = _in_todays_words((overrides or {}).get(name, {}))
        based = changed(base, PRESETS[preset].get(name, {}), name)
        sections[name] = changed(based, override, name) if isinstance(override, Mapping) else override
    return AtariConfig(games.env_id(env), encoder, preset, checked_seed(seed), sections["training"], sections[LEARNER])


def _in_todays_words(section: Any) -> Any:
    """Settings of runs that Stable-Baselines3 trained: its value losses have no factor 0.5."""
    if not isinstance(section, Mapping) or "clip_values" not in section:
        return section
    settings = dict(section)
    if settings.pop("clip_values"):
        return {"value_loss": "clipped", **settings}
    return {"value_loss": "plain", **settings, "value": 2 * settings.get("value", AtariPPOConfig.value)}


def config_from_dict(state: Mapping[str, Any]) -> AtariConfig:
    """Undo ``AtariConfig.as_dict``.

    Raises:
        FovealError: as for ``configure``, or a name is missing.
    """
    sections = dict(state)
    try:
        env, encoder, preset, seed = (sections.pop(key) for key in ("env", "encoder", "preset", "seed"))
    except KeyError as error:
        raise FovealError(f"the configuration lacks {error.args[0]!r}") from error
    sections.pop("learner", None)
    return configure(env, encoder, preset, seed, sections)
