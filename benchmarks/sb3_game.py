"""A policy that Stable-Baselines3's own PPO trained on an Atari game, by its own wrappers: nothing of it is foveal's.

    python benchmarks/sb3_game.py KungFuMasterNoFrameskip-v4 --steps 200000 --out runs/sb3-kung-fu

The folder holds SB3's ``policy.zip``; ``benchmarks/audits.py`` audits it. The settings are those that SB3's zoo has for
Atari games.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ale_py  # noqa: F401 - registers the games
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack

POLICY = "policy.zip"
GAMES, STACK = 8, 4


@dataclass(frozen=True)
class Options:
    """Train SB3's PPO with its convolutions of Mnih et al. (2015).

    Attributes:
        game: id in Gymnasium.
        out: new folder.
        steps: agent steps, of all games together.
        seed: of training.
    """

    game: tyro.conf.Positional[str]
    out: Path
    steps: int = 200_000
    seed: int = 0


def games_of(game: str, count: int, seed: int) -> VecFrameStack:
    """Games side by side as SB3's own wrappers show them."""
    return VecFrameStack(make_atari_env(game, n_envs=count, seed=seed), STACK)


def main() -> None:
    """Train, save, and print the score."""
    asked = tyro.cli(Options)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True)
    games = games_of(asked.game, GAMES, asked.seed)
    falling: Any = lambda left: left * 2.5e-4  # noqa: E731 - SB3 asks for a function of the share that is left
    model = PPO(
        "CnnPolicy",
        games,
        learning_rate=falling,
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        clip_range=0.1,
        vf_coef=0.5,
        ent_coef=0.01,
        seed=asked.seed,
        device="cpu",
    )
    model.learn(asked.steps, log_interval=20)
    model.save(asked.out / POLICY)
    trial = games_of(asked.game, 1, asked.seed + 1000)
    mean, spread = evaluate_policy(model, trial, n_eval_episodes=5)
    print(f"{asked.game}: {mean:.0f} +- {spread:.0f} in 5 games")


if __name__ == "__main__":
    main()
