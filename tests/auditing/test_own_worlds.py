"""Audits of foveal's own agents in games and of its policies of the arm, with their maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ale_py", reason="needs the extra 'atari'")
pytest.importorskip("h5py", reason='needs the extra "skills"')

import foveal
from foveal.atari.single import GameMaker
from foveal.auditing.adapters import AdapterOptions, adapted
from foveal.auditing.places import place_for
from foveal.auditing.playing import Player
from foveal.cli import main
from foveal.envs.ur5e.experts import skills
from foveal.errors import FovealError
from foveal.evaluation.rollouts import world_of
from foveal.evaluation.world import TRAIN, Bar, WorldOptions
from foveal.skills.config import clone_config, master_config
from foveal.skills.flat import FlatPolicy, flat_config
from foveal.skills.master import Master
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.view import View
from small_policies import looking


def game(learner: str, encoder: str) -> foveal.Agent:
    return foveal.Agent(
        "atari/breakout", preset="debug", learner=learner, encoder=encoder, training={"precision": "float32"}
    )


def cloned() -> SkillPolicy:
    names = tuple(skill.name for skill in skills("pick"))
    config = clone_config("debug", {"precision": "float32"})
    return SkillPolicy(SkillSet("pick", names, View(32, 32)), config)


def told(policy: Any, **options: Any) -> foveal.Audit:
    settings = {"changes": ["noise"], "severities": [5], "episodes": 1, "longest": 4, "out": None, **options}
    return foveal.audit(policy, progress=False, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learner", "encoder", "maps"),
    [
        ("ppo", "sparse-fls", ["gradient", "guided_backprop", "attention"]),
        ("dqn", "nature", ["gradient", "guided_backprop"]),
    ],
)
def test_an_agent_of_games_is_audited_with_its_maps(
    learner: str, encoder: str, maps: list[str], tmp_path: Path
) -> None:
    agent = game(learner, encoder)
    before = agent.acting_generator.get_state()
    found = told(agent, out=tmp_path / "page.html")
    assert found.place == "atari/breakout" and found.measure == "return" and f"on {learner}" in found.policy["kind"]
    assert [trial.name for trial in found.maps] == maps and all(trial.likeness for trial in found.maps)
    assert "Actions are" in found.remarks[0]
    assert bool((agent.acting_generator.get_state() == before).all())  # a later training is what it would have been
    assert "atari/breakout" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["ppo", "dqn"])
def test_a_whole_game_is_the_one_that_evaluation_records(learner: str) -> None:
    agent = game(learner, "nature")
    recorded = world_of(agent, WorldOptions(seed=agent.seed + 42)).record(TRAIN, 10, Bar(1, visible=False))
    adapter = adapted(agent, AdapterOptions())
    player = Player(place_for(adapter, None), adapter, 1, agent.seed + 42)
    with player.place.open() as env:
        (episode,) = player.behave(env, Unchanged())
    assert (episode.total, episode.length) == (recorded.episode.total, recorded.episode.length)
    adapter.close()


class Unchanged:
    def begin(self) -> None:
        pass

    def __call__(self, given: Any) -> Any:
        return given


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["skills", "master", "flat"])
def test_a_policy_of_the_arm_is_audited_with_its_maps(kind: str) -> None:
    policy: Any = cloned() if kind != "flat" else FlatPolicy("pick", View(64, 64), flat_config(100))
    policy = Master("pick", policy, master_config("debug")) if kind == "master" else policy
    found = told(policy)
    assert found.place == "ur5e/pick" and found.measure == "success rate" and found.settings["masks"]
    assert [trial.name for trial in found.maps] == ["gradient", "guided_backprop"]
    assert all("velocity" in trial.of and trial.parts and trial.likeness for trial in found.maps)
    assert "a grey one: 0.5 m and nearer is white" in found.remarks[0]


@pytest.mark.slow
def test_the_arm_moves_as_its_policy_moves_it_by_itself() -> None:
    policy = Master("pick", cloned(), master_config("debug"))
    adapter = adapted(policy, AdapterOptions())
    with place_for(adapter, None).open() as env:
        seen, _ = env.reset(seed=0)
        adapter.reset()
        memory: Any = None
        for _ in range(4):
            arm = env.unwrapped._arms  # the same frame, as ``predict`` takes it
            expected, memory = policy.predict({"depth": arm.frames(0)[-1]}, memory, deterministic=True)
            action = adapter.act(seen)
            np.testing.assert_allclose(action, expected, atol=1e-6)
            seen, *_ = env.step(action)


@pytest.mark.slow
def test_another_number_may_be_explained_and_an_unknown_one_is_refused() -> None:
    with pytest.raises(FovealError, match="no scalar 'velocty'"):
        told(cloned(), of="velocty")


@pytest.mark.slow
def test_maps_are_of_the_number_that_is_named() -> None:
    agent = game("ppo", "nature")
    found = told(agent, of="log_prob", maps=["gradient"])
    assert found.maps[0].of == "the action's log-probability" and found.settings["of"] == "log_prob"


def test_what_looks_at_nothing_and_what_acts_elsewhere_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Master("pick", None, master_config("debug")).save(tmp_path / "experts")
    assert main(["audit", str(tmp_path / "experts")]) == 2
    assert "no skill that looks at pictures" in capsys.readouterr().err
    cloned().save(tmp_path / "skills")
    assert main(["audit", str(tmp_path / "skills"), "--env", "ur5e/bowl"]) == 2
    assert capsys.readouterr().err.endswith("this policy of the arm was made for ur5e/pick, and not for ur5e/bowl\n")


def test_a_game_may_be_named_for_anybodys_policy() -> None:
    place = place_for(adapted(looking, AdapterOptions()), "atari/Breakout")
    assert isinstance(place.env, GameMaker) and place.name == place.env.env == "atari/breakout"
    with pytest.raises(FovealError, match="unknown Atari game"):
        place_for(adapted(looking, AdapterOptions()), "atari/brekout")
