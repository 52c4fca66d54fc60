"""The protocols of Atari games: sticky actions and the limit of frames, in training and in evaluation; FIRE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("ale_py", reason="needs the extra 'atari'")

import foveal
from foveal.atari.emulator import Emulator
from foveal.atari.evaluation import random_scores
from foveal.atari.vector import AtariVector
from foveal.cli import main
from foveal.config.tree import config_from_dict, configure
from foveal.envs import games
from foveal.errors import FovealError
from foveal.evaluation.results import Results


def agent(env: str = "atari/freeway", **environment: Any) -> foveal.Agent:
    training = {"precision": "float32", "environments": 2}
    return foveal.Agent(env, preset="debug", encoder="nature", training=training, environment=environment)


# --- by name ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "protocol", "expected"),
    [
        ("atari/breakout", "v4", (0.0, 400_000)),
        ("atari/space_invaders", "v4", (0.0, 300_000)),
        ("atari/breakout", "v5", (0.25, 108_000)),
        ("atari/space_invaders", "v5", (0.25, 108_000)),
    ],
)
def test_what_a_protocol_stands_for(env: str, protocol: str, expected: tuple[float, int]) -> None:
    rules = games.protocol_rules(env, protocol)
    assert (rules["sticky"], rules["frame_limit"]) == expected
    made = agent(env, protocol=protocol)
    assert {name: made.env_options[name] for name in rules} == rules


def test_v5_is_that_of_gymnasium() -> None:
    """Against what ale-py registers."""
    import ale_py
    import gymnasium

    gymnasium.register_envs(ale_py)
    registered = gymnasium.spec("ALE/Breakout-v5").kwargs
    rules = games.protocol_rules("atari/breakout", "v5")
    assert rules["sticky"] == registered["repeat_action_probability"]
    assert rules["frame_limit"] == registered["max_num_frames_per_episode"]
    assert games.PROTOCOLS["v4"].sticky == gymnasium.spec("BreakoutNoFrameskip-v4").kwargs["repeat_action_probability"]


@pytest.mark.slow
def test_numbers_go_before_names() -> None:
    assert games.protocol_rules("atari/pong", "v5", 0.0, 99) == {"sticky": 0.0, "frame_limit": 99}
    made = agent(protocol="v5", frame_limit=77)
    assert (made.env_options["sticky"], made.env_options["frame_limit"]) == (0.25, 77)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"protocol": "v3"}, r"environment\.protocol is 'v3': "),
        ({"sticky": 1.0}, r"environment\.sticky must be in \[0, 1\), not 1"),
        ({"frame_limit": 0}, r"environment\.frame_limit must be at least 1, not 0"),
    ],
)
def test_settings_out_of_bounds(environment: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        configure("atari/pong", overrides={"environment": environment})


# --- in the games -----------------------------------------------------------------------------------------------------


def seen_of(sticky: float, steps: int = 60) -> tuple[list[Any], AtariVector]:
    """Frames of Pong while the paddle is told to go up and down by turns."""
    env = AtariVector("atari/pong", 1, seed=3, sticky=sticky)
    env.reset()
    return [env.step(np.array([2 + step % 2]))[0][0, -1].copy() for step in range(steps)], env


@pytest.mark.slow
def test_sticky_actions_change_the_game_and_are_repeated_by_the_seed() -> None:
    plain, _ = seen_of(0.0)
    sticky, env = seen_of(0.25)
    again, _ = seen_of(0.25)
    np.testing.assert_array_equal(sticky, again)
    assert any((a != b).any() for a, b in zip(plain, sticky, strict=True))

    other = AtariVector("atari/pong", 1, seed=99, sticky=0.25)
    assert other.load_state(env.state())  # its seed and its actions lead to the same frame
    for _ in range(20):
        np.testing.assert_array_equal(env.step(np.array([3]))[0], other.step(np.array([3]))[0])


@pytest.mark.slow
def test_a_lasting_sticky_action_is_the_action_before() -> None:
    """Where nearly every frame repeats, the paddle hardly heeds what it is told."""
    stuck, _ = seen_of(0.999, 30)
    told, _ = seen_of(0.0, 30)
    moved = [np.abs(np.diff(np.stack(frames)[:, 20:78, 70:80].astype(int), axis=0)).sum() for frames in (stuck, told)]
    assert moved[0] < moved[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["breakout", "backgammon", "video_checkers", "freeway"])
def test_fire_is_looked_up_by_its_meaning(name: str) -> None:
    from ale_py import Action

    emulator = Emulator(name, 1000)
    meanings = [action.name for action in emulator._native.ale.get_action_set()]
    if name == "freeway":
        assert emulator.opening == () and "FIRE" not in meanings
        return
    assert meanings[emulator.opening[0]] == Action.FIRE.name
    assert emulator.opening[1] < len(meanings)
    assert [meanings[index] for index in emulator.nothing] == (["NOOP"] if name == "breakout" else [])
    if name == "breakout":
        assert (emulator.nothing, emulator.opening) == ((0,), (1, 2))  # as OpenAI baselines press them


@pytest.mark.slow
@pytest.mark.parametrize("name", ["backgammon", "video_checkers"])
def test_games_without_an_action_that_does_nothing_are_played(name: str) -> None:
    env = AtariVector(f"atari/{name}", 1, seed=0, frame_limit=200)
    frames, _ = env.reset()
    assert frames[0, -1].any()
    for _ in range(60):
        env.step(np.array([0]))


# --- in evaluation ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_evaluation_has_the_protocol_of_the_training_unless_told() -> None:
    trained = agent(frame_limit=120)
    own = foveal.evaluate(trained, episodes=1, progress=False)
    assert own.environment["frame_limit"] == 120 and own.environment["sticky"] == 0.0
    assert own["train"].episodes[0].length == 30 and not own["train"].episodes[0].terminated
    other = foveal.evaluate(trained, episodes=1, progress=False, sticky=0.5, frame_limit=80)
    assert other.environment["sticky"] == 0.5 and other["train"].episodes[0].length == 20
    assert Results.from_dict(other.as_dict()).environment == other.environment


@pytest.mark.slow
def test_the_command_evaluates_by_another_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent(frame_limit=80).save(tmp_path / "agent")
    line = ["evaluate", str(tmp_path / "agent"), "--episodes", "1", "--out", str(tmp_path / "found.json")]
    assert main([*line, "--sticky", "0.25", "--random"]) == 0
    found = Results.load(tmp_path / "found.json").environment
    assert (found["sticky"], found["frame_limit"]) == (0.25, 80)
    assert capsys.readouterr().out.count("atari/freeway") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "v6"}, "unknown protocol 'v6': "),
        ({"sticky": 1.5}, r"sticky must be in \[0, 1\), not 1.5"),
        ({"frame_limit": 0}, "frame_limit must be at least 1, not 0"),
    ],
)
def test_evaluations_that_can_not_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        foveal.evaluate(agent(), **options)


@pytest.mark.slow
def test_protocols_mean_nothing_elsewhere() -> None:
    walker = foveal.Agent("dmc/walker-walk", "none", preset="debug")
    with pytest.raises(FovealError, match="protocol means nothing for dmc/walker-walk, which is no Atari game"):
        foveal.evaluate(walker, protocol="v5")


@pytest.mark.slow
def test_scores_of_chance_follow_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    short = games.Protocol("short games", 0.25, 80)
    monkeypatch.setitem(games.PROTOCOLS, "v5", short)
    found = random_scores("atari/freeway", 1, seed=1, protocol="v5", progress=False)
    assert found["train"].episodes[0].length == 20 and found.environment["sticky"] == 0.25


# --- what the preset says, and what was trained before ----------------------------------------------------------------


@pytest.mark.slow
def test_the_published_preset_computes_in_float32() -> None:
    precision = {name: configure("atari/pong", preset=name).training.precision for name in ("paper", "compact")}
    assert precision == {"paper": "float32", "compact": "auto"}
    assert foveal.Agent("atari/pong", encoder="nature").learner.encoder().dtype == torch.float32
    bfloat16 = {"training": {"precision": "bfloat16"}}
    assert configure("atari/pong", overrides=bfloat16).training.precision == "bfloat16"


def test_agents_from_before_protocols_keep_their_limit() -> None:
    whole = configure("atari/pong").as_dict()
    for name in ("protocol", "sticky", "frame_limit"):
        del whole["environment"][name]
    read = config_from_dict(whole)
    assert (read.environment.protocol, read.environment.frame_limit) == ("v4", 108_000)
    assert config_from_dict(configure("atari/pong").as_dict()).environment.frame_limit is None
    assert "frame_limit" not in config_from_dict(configure("dmc/walker-walk").as_dict()).as_dict()["environment"]
