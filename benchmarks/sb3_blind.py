"""Whole games of a policy that ``benchmarks/sb3_game.py`` trained, with its camera and with a grey picture instead.

    python benchmarks/sb3_blind.py KungFuMasterNoFrameskip-v4 runs/sb3-kung-fu

Everything but the grey picture is Stable-Baselines3's own: what an audit says of such a policy is checked by this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from sb3_game import POLICY, games_of
from stable_baselines3 import PPO

GREY = 127


@dataclass(frozen=True)
class Options:
    """Scores of whole games, as they are and blind.

    Attributes:
        game: id in Gymnasium.
        folder: with the policy.
        games: how many, side by side.
        seed: of the first game, and of what is drawn.
        deterministic: take the likeliest action instead of drawing one.
    """

    game: tyro.conf.Positional[str]
    folder: tyro.conf.Positional[Path]
    games: int = 6
    seed: int = 1000
    deterministic: bool = False


def scores(model: PPO, asked: Options, *, blind: bool) -> list[float]:
    """Of the first whole game of each place."""
    games = games_of(asked.game, asked.games, asked.seed)
    torch.manual_seed(asked.seed)
    seen, found = games.reset(), dict[int, float]()
    while len(found) < asked.games:
        shown = np.full_like(seen, GREY) if blind else seen
        actions, _ = model.predict(shown, deterministic=asked.deterministic)
        seen, _, _, infos = games.step(actions)
        ended = {place: float(info["episode"]["r"]) for place, info in enumerate(infos) if "episode" in info}
        found = {**ended, **found}
    games.close()
    return [found[place] for place in range(asked.games)]


def main() -> None:
    """Print both."""
    asked = tyro.cli(Options)
    torch.set_num_threads(1)
    model = PPO.load(asked.folder / POLICY, device="cpu")
    for name, blind in (("as it is", False), ("grey", True)):
        found = scores(model, asked, blind=blind)
        print(f"{name}: {np.mean(found):.0f}, {' '.join(f'{score:.0f}' for score in found)}")


if __name__ == "__main__":
    main()
