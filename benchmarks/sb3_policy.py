"""A policy that Stable-Baselines3's own SAC trained: it knows nothing of foveal but the environment.

    python benchmarks/sb3_policy.py dmc/walker-stand --steps 30000 --out runs/sb3

The folder holds SB3's ``policy.zip`` and what the environment was made with; ``benchmarks/shield.py`` takes it as a
policy (it unpickles the file, so it has to be your own).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from stable_baselines3 import SAC

import foveal.envs
from foveal.evaluation.results import write_json

POLICY, ABOUT = "policy.zip", "about.json"


@dataclass(frozen=True)
class Options:
    """Train SB3's SAC with its convolutions of Mnih et al. (2015).

    Attributes:
        env: id of the environment.
        out: new folder.
        steps: agent steps.
        seed: of training.
        image_size: side of the pictures, in pixels.
        learning_rate: of all three optimizers.
        batch_size: of an update; there is one in every second step.
    """

    env: tyro.conf.Positional[str]
    out: Path
    steps: int = 30_000
    seed: int = 0
    image_size: int = 40
    learning_rate: float = 3e-4
    batch_size: int = 64


class Theirs:
    """The policy with what ``foveal.evaluate`` asks of one: where it acts, and how.

    Args:
        folder: made by this script.
    """

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / ABOUT).read_text())
        self.env_id: str = about["env"]
        self.env_options: dict[str, Any] = about["options"]
        self.seed: int = about["seed"]
        self.model = SAC.load(folder / POLICY, device="cpu")

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]:
        """SB3's answer."""
        return self.model.predict(observation, deterministic=deterministic)


def main() -> None:
    """Train and save."""
    asked = tyro.cli(Options)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True)
    options = {"image_size": asked.image_size, "quality": "draft"}
    env = foveal.envs.make(asked.env, **options)
    model = SAC(
        "CnnPolicy",
        env,
        learning_rate=asked.learning_rate,
        buffer_size=asked.steps,
        learning_starts=500,
        batch_size=asked.batch_size,
        gamma=0.98,
        train_freq=2,
        policy_kwargs={"net_arch": [256, 256]},
        seed=asked.seed,
        device="cpu",
    )
    model.learn(asked.steps, progress_bar=False, log_interval=20)
    model.save(asked.out / POLICY)
    write_json(asked.out / ABOUT, {"env": asked.env, "options": options, "seed": asked.seed, "steps": asked.steps})
    theirs = Theirs(asked.out)
    print(foveal.evaluate(theirs, "train", episodes=5).table())


if __name__ == "__main__":
    main()
