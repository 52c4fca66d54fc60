"""Agents of Stable-Baselines3: as objects, and from their files without unpickling."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

import foveal
from foveal.auditing.adapters import AdapterOptions, adapted
from foveal.auditing.cameras import cameras_of
from foveal.errors import FovealError
from foveal.pictures.video import write_video
from foveal.saliency.randomisation import weights_of
from small_policies import SIDE, Sides

PLAIN = AdapterOptions()
BOUNDS = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 0.5], np.float32))


class Pictures(Sides):
    """Of any actions."""

    def __init__(self, actions: spaces.Space[Any]) -> None:
        super().__init__()
        self.action_space = actions


SMALL = {"n_steps": 8, "batch_size": 8, "device": "cpu", "seed": 3}
AGENTS: Mapping[str, Any] = {
    "ppo-discrete": lambda: PPO("CnnPolicy", Pictures(spaces.Discrete(3)), **SMALL),
    "ppo-box": lambda: PPO("CnnPolicy", Pictures(BOUNDS), policy_kwargs={"net_arch": [32, 16]}, **SMALL),
    "ppo-apart": lambda: PPO("CnnPolicy", Pictures(BOUNDS), policy_kwargs={"net_arch": {"pi": [8], "vf": []}}, **SMALL),
    "dqn": lambda: DQN("CnnPolicy", Pictures(spaces.Discrete(3)), buffer_size=10, device="cpu", seed=3),
    "dqn-deeper": lambda: DQN(
        "CnnPolicy",
        Pictures(spaces.Discrete(3)),
        buffer_size=10,
        device="cpu",
        seed=3,
        policy_kwargs={"net_arch": [16]},
    ),
    "sac": lambda: SAC("CnnPolicy", Pictures(BOUNDS), buffer_size=10, device="cpu", seed=3),
}


def observations(count: int = 5) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, 3, SIDE, SIDE), np.uint8)


def jittered(agent: Any) -> Any:
    """With weights that decide something: at first they hardly do."""
    for number, weight in enumerate(agent.policy.parameters()):
        weight.data += 0.03 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number))
    return agent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """Agents by name, and the files that they saved; each is made once, and nobody trains it."""
    folder = tmp_path_factory.mktemp("sb3")

    @cache
    def make(name: str) -> tuple[Any, Path]:
        agent, path = jittered(AGENTS[name]()), folder / f"{name}.zip"
        agent.save(path)
        return agent, path

    return make


def changed_file(path: Path, **settings: Any) -> Path:
    """A file with other settings."""
    other = path.with_name("other.zip")
    with zipfile.ZipFile(path) as packed, zipfile.ZipFile(other, "w") as written:
        for name in packed.namelist():
            content = packed.read(name)
            if name == "data":
                content = json.dumps({**json.loads(content), **settings}).encode()
            written.writestr(name, content)
    return other


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_a_file_acts_exactly_as_the_agent_and_needs_no_stable_baselines(
    name: str, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, path = made(name)
    expected = [agent.predict(seen, deterministic=True)[0] for seen in observations()]
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    adapter = adapted(path, PLAIN)
    found = [adapter.act(seen) for seen in observations()]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len({str(action) for action in found}) > 1 or name.startswith(("ppo-d", "dqn"))
    assert adapter.observation_space == agent.observation_space and adapter.action_space == agent.action_space
    assert "nothing was unpickled" in adapter.remarks[0]


DRAWN = AdapterOptions(drawn=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo-discrete", "ppo-box"])
@pytest.mark.parametrize("live", [True, False])
def test_actions_are_drawn_as_the_agent_draws_them_and_alike_whenever_an_episode_is_played(
    name: str, live: bool, made: Any
) -> None:
    agent, path = made(name)
    (picture,) = observations(1)
    distribution = agent.policy.get_distribution(torch.as_tensor(picture)[None].float()).distribution
    adapter = adapted(agent if live else path, DRAWN)
    before = torch.get_rng_state()
    episodes = []
    for number, length in ((0, 400), (1, 50), (0, 50)):
        adapter.reset()
        adapter.begin_draws(number)
        episodes.append(np.array([adapter.act(picture) for _ in range(length)]))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(episodes[0][:50], episodes[2])
    assert (episodes[0][:50] != episodes[1]).any()
    assert any("drawn" in remark for remark in adapter.remarks)
    if name == "ppo-discrete":
        shares = np.bincount(episodes[0], minlength=3) / 400
        np.testing.assert_allclose(shares, distribution.probs[0].detach(), atol=0.08)
    else:  # the bounds cut a Gaussian of such a width at its median, or leave most of it
        below = (episodes[0] < distribution.mean[0].detach().numpy()).mean(0)
        inside = (BOUNDS.low < distribution.mean[0].detach().numpy()) & (
            distribution.mean[0].detach().numpy() < BOUNDS.high
        )
        assert inside.any() and np.all(np.abs(below - 0.5)[inside] < 0.08)


@pytest.mark.slow
def test_who_cant_draw_says_so(made: Any) -> None:
    with pytest.raises(FovealError, match=r"how DQN draws its actions is not built again.*--trust"):
        adapted(made("dqn")[1], DRAWN)


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("live", [True, False])
def test_agents_and_files_can_be_differentiated_and_decide_by_what_is_explained(
    name: str, live: bool, made: Any
) -> None:
    agent, path = made(name)
    adapter = adapted(agent if live else path, PLAIN)
    seen, discrete = list(observations()), isinstance(agent.action_space, spaces.Discrete)
    (camera,) = cameras_of(agent.observation_space)
    insides = adapter.insides(camera, discrete=discrete)
    assert insides is not None and insides.decision is not None
    numbers = insides.decision.bind(seen, ())(insides.pixels(seen)).detach().numpy()
    acted = np.stack([np.asarray(adapter.act(one)) for one in seen])
    if discrete:
        assert numbers.argmax(1).tolist() == acted.tolist()
    else:
        assert numbers.shape == acted.shape
        if name != "sac" or not live:  # the live actor's numbers are in [-1, 1], before they are scaled
            np.testing.assert_allclose(np.clip(numbers, BOUNDS.low, BOUNDS.high), acted, rtol=1e-4, atol=1e-5)
    assert insides.look("gradient", seen).any()
    assert weights_of(insides.scalar().bind(seen, ()), insides.pixels(seen))


@pytest.fixture(scope="module")
def file(made: Any) -> Path:
    return made("ppo-discrete")[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"policy_kwargs": {":type:": "dict", ":serialized:": "gASV"}}, "arguments of its policy are pickled"),
        ({"policy_kwargs": {"features_dim": 3}}, "arguments of its own, features_dim"),
        ({"use_sde": True}, "gSDE"),
        ({"observation_space": {":type:": "<class 'gymnasium.spaces.dict.Dict'>"}}, "not one picture"),
        ({"action_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "n": "7"}}, "not NatureCNN"),
    ],
)
def test_what_cant_be_rebuilt_exactly_is_refused_with_the_way_to_do_it(
    settings: dict[str, Any], said: str, file: Path
) -> None:
    with pytest.raises(FovealError, match=rf"can't be rebuilt without unpickling: .*{said}.*--trust"):
        adapted(changed_file(file, **settings), PLAIN)


@pytest.mark.slow
def test_a_trusted_file_is_loaded_by_stable_baselines_itself(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = adapted(changed_file(file, policy_kwargs={"net_arch": [], "optimizer_kwargs": None}), PLAIN)
    assert "rebuilt" in adapter.remarks[0] and not capsys.readouterr().err
    trusted = adapted(file, AdapterOptions(trust=True))
    assert "runs whatever code is in it" in capsys.readouterr().err
    assert "was trusted" in trusted.remarks[0]
    assert trusted.act(observations()[0]) == adapter.act(observations()[0])


@pytest.mark.slow
def test_a_file_is_shown_frames_in_the_size_and_order_that_it_knows(file: Path, tmp_path: Path) -> None:
    frames = [np.random.default_rng(seed).integers(0, 256, (60, 50, 3), np.uint8) for seed in range(40)]
    film = write_video(tmp_path / "film.mp4", frames, fps=10)
    found = foveal.audit(file, out=None, frames=film, changes=["noise"], severities=[5], maps=(), progress=False)
    assert found.measure == "action drift" and found.policy["kind"].startswith("PPO")
    assert all(point.pictures[0].shape == (SIDE, SIDE, 3) for point in found.points)


def test_a_damaged_file_is_said_to_be(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "broken.zip", "w") as packed:
        packed.writestr("data", "{}")
        packed.writestr("policy.pth", b"nonsense")
    with pytest.raises(FovealError, match="no whole file of Stable-Baselines3"):
        adapted(tmp_path / "broken.zip", PLAIN)


# --- trained by its own code ------------------------------------------------------------------------------------------


def audited(policy: Any, env: Any) -> foveal.Audit:
    return foveal.audit(policy, env, None, changes=["hue", "delayed"], severities=[1], maps=(), progress=False)


def check_looks(found: foveal.Audit) -> None:
    """It has learned, it looks, and a frame that comes late breaks it."""
    assert found.clean[0].mean >= 9.0
    assert found.verdict == "looks"
    assert found.curves()[0].change == "delayed" and found.curves()[0].points[0].broken


@pytest.mark.slow
def test_ppo_that_was_trained_is_found_to_look(tmp_path: Path) -> None:
    agent = PPO(
        "CnnPolicy",
        Sides(),
        n_steps=128,
        batch_size=64,
        n_epochs=4,
        learning_rate=1e-3,
        gamma=0.5,
        seed=0,
        device="cpu",
    )
    agent.learn(1024)
    agent.save(tmp_path / "ppo.zip")
    found = audited(agent, Sides())  # the agent's pictures have channels first, the environment's last
    check_looks(found)
    assert found.policy["kind"] == "PPO of stable_baselines3"
    assert audited(tmp_path / "ppo.zip", Sides()).points == found.points


@pytest.mark.slow
def test_dqn_on_stacked_frames_is_found_to_look(tmp_path: Path) -> None:
    environments = VecFrameStack(DummyVecEnv([Sides]), 3)
    agent = DQN(
        "CnnPolicy",
        environments,
        buffer_size=2000,
        learning_starts=100,
        train_freq=4,
        target_update_interval=100,
        gamma=0.3,
        learning_rate=5e-4,
        exploration_fraction=0.3,
        seed=0,
        device="cpu",
    )
    agent.learn(2000)
    agent.save(tmp_path / "dqn.zip")
    assert agent.observation_space.shape == (9, SIDE, SIDE)
    check_looks(audited(agent, environments))
    check_looks(audited(tmp_path / "dqn.zip", Sides()))
