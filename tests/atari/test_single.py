"""One game as an environment of Gymnasium's: the same game as in an evaluation, with its true score."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ale_py", reason="needs the extra 'atari'")

from foveal.atari.single import GameEnv, GameMaker
from foveal.atari.vector import AtariVector, finished_games
from foveal.envs import games
from foveal.errors import FovealError

RULES = {"life_loss": True, "repeat_first": False, "size": 84, "sticky": 0.0, "frame_limit": 400}


@pytest.mark.slow
def test_points_sum_to_the_score_of_the_same_game_in_a_vector() -> None:
    env, vector = GameEnv("atari/ms_pacman", RULES), AtariVector("atari/ms_pacman", 1, 0, **RULES)
    seen, _ = env.reset(seed=7)
    expected, _ = vector.reset(seed=7)
    actions = np.random.default_rng(0).integers(0, env.action_space.n, 500)
    total, ended, finished = 0.0, False, []
    for action in actions:
        np.testing.assert_array_equal(seen, expected[0])
        seen, reward, terminated, truncated, _ = env.step(action)
        expected, _, _, _, infos = vector.step(np.array([action]))
        finished = list(finished_games(infos))
        total, ended = total + reward, terminated or truncated
        if ended:
            break
    assert ended and [(0, total)] == [(index, score) for index, score, _ in finished]
    assert truncated and not terminated and total > 0 and total % 10 == 0  # cut at the limit of frames
    np.testing.assert_array_equal(seen, infos["final_obs"][0])
    env.close()
    vector.close()


@pytest.mark.slow
def test_a_seed_gives_the_same_game_again_and_another_one_another() -> None:
    env = GameMaker("atari/breakout", RULES)()

    def played(seed: int) -> np.ndarray:
        env.reset(seed=seed)
        return np.stack([env.step(action)[0] for action in (0, 1, 2, 3) * 5])

    first, other, again = played(1), played(2), played(1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    env.close()


def test_an_unknown_game_is_refused() -> None:
    with pytest.raises(FovealError, match="unknown Atari game 'brekout'"):
        GameEnv("atari/brekout", games.protocol_rules("atari/breakout"))
