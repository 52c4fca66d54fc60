"""An environment of one's own with buttons: ``dqn`` without being named, and every verb on what it trained."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.envs.registration import EnvSpec

import foveal
from foveal.cli import main
from foveal.config.environment import usual_learner
from foveal.envs import make
from foveal.envs.making import takes_discrete
from foveal.errors import FovealError
from small_dqn import Bright
from small_env import Counter, SavedCounter, differing

MODULE = """
import gymnasium
import numpy as np
from gymnasium import spaces


class Buttons(gymnasium.Env):
    '''One half of the picture is bright; the button on that side pays.'''

    def __init__(self):
        self.observation_space = spaces.Box(0, 255, (48, 48, 3), np.uint8)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_in_episode = 0
        return self._observe(), {}

    def step(self, action):
        right = int(action) == self.side
        self.step_in_episode += 1
        return self._observe(), float(right), False, self.step_in_episode == 10, {}

    def get_state(self):
        return {"random": self.np_random.bit_generator.state, "side": self.side, "step": self.step_in_episode}

    def set_state(self, state):
        self.np_random.bit_generator.state = state["random"]
        self.side, self.step_in_episode = state["side"], state["step"]

    def _observe(self):
        self.side = int(self.np_random.integers(2))
        picture = np.zeros((48, 48, 3), np.uint8)
        picture[:, 24 * self.side : 24 * self.side + 24] = 200
        return picture


gymnasium.register("Buttons-v0", entry_point=Buttons)
"""
ENV = "buttons_of_a_user:Buttons-v0"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the user's module, on the path."""
    (tmp_path / "buttons_of_a_user.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    gymnasium.registry.pop("Buttons-v0", None)
    sys.modules.pop("buttons_of_a_user", None)


@pytest.mark.slow
def test_train_resume_evaluate_explain_export(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"train {ENV} --preset debug --method svea --training.initial-random-steps 20 --evaluate-every 50"
    learning = "--training.discount 0 --dqn.lr 3e-3 --environment.frame-stack 1 --checkpoint-every 100"
    arguments = [*command.split(), *learning.split()]
    assert main([*arguments, "--steps", "300", "--out", "whole"]) == 0
    assert "next: foveal evaluate whole --on train, or" in capsys.readouterr().out
    settings = yaml.safe_load(Path("whole/config.yaml").read_text())
    assert (settings["learner"], settings["method"], settings["env"]) == ("dqn", "svea", ENV)

    assert main([*arguments, "--steps", "130", "--out", "cut"]) == 0
    assert main(["train", "--resume", "cut", "--steps", "300"]) == 0
    whole, cut = foveal.load("whole"), foveal.load("cut")
    assert isinstance(whole, foveal.Agent) and isinstance(cut, foveal.Agent)
    assert whole.steps == 300 and differing(whole.state()[0], cut.state()[0]) == []

    capsys.readouterr()
    assert main(["evaluate", "whole", "--episodes", "4", "--random"]) == 0
    means = [float(mean) for mean in re.findall(r"^train +([\d.]+)", capsys.readouterr().out, re.MULTILINE)]
    assert means[0] == 10.0 and 1 < means[1] < 9  # it learns which button pays
    assert main(["explain", "whole", "--out", "page.html", "--frames", "2"]) == 0
    assert (here / "page.html").stat().st_size > 10_000
    pytest.importorskip("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(whole.export("policy.onnx")))
    frames = np.zeros((2, 3, 36, 36), np.uint8)
    frames[0, :, :, :18] = frames[1, :, :, 18:] = 200
    assert session.run(None, {"image": frames})[0].tolist() == [0, 1]


@pytest.mark.slow
def test_the_usual_learner_is_for_the_actions_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Counter] = []

    def buttons() -> Counter:
        made.append(Counter(discrete=True))
        return made[-1]

    agent = foveal.Agent(buttons, preset="debug")
    assert (agent.learner_name, agent.config.method) == ("dqn", "sgqn")
    assert len(made) == 1 and made[0].closed  # made once, to be looked at
    monkeypatch.setitem(gymnasium.registry, "Watched-v0", EnvSpec("Watched-v0", entry_point=buttons))
    assert foveal.Agent("Watched-v0", preset="debug").learner_name == "dqn"
    assert len(made) == 2 and made[1].closed  # so is what an id of Gymnasium's names
    assert foveal.Agent(SavedCounter, preset="debug").learner_name == "sac"
    own = Bright()
    assert foveal.Agent(own, preset="debug").learner_name == "dqn" and not own.closed
    with pytest.raises(FovealError, match="learner 'sac' needs Box actions"):
        foveal.Agent(buttons, learner="sac", preset="debug")
    assert usual_learner("dmc/walker-walk") == "sac" and usual_learner("atari/pong") == "ppo"
    assert usual_learner("box2d/car-racing") == "sac" and usual_learner("foveal/box2d-car-racing-discrete-v0") == "dqn"
    with pytest.raises(FovealError, match="unknown environment 'dmc/walker-wlk': did you mean 'dmc/walker-walk'"):
        usual_learner("dmc/walker-wlk")


def test_no_family_is_made_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foveal.envs.dmc.ControlSuite.build", lambda *_: pytest.fail("it was made"), raising=False)
    assert not takes_discrete("dmc/walker-walk") and not takes_discrete("ur5e/bowl")


def test_help_shows_the_usual_learners_options(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", ENV, "--help"])
    told = capsys.readouterr().out
    assert "--dqn.lr" in told and "--sac.hidden" not in told


@pytest.mark.slow
def test_what_families_say_of_their_actions_is_true() -> None:
    pytest.importorskip("pygame", reason="needs the extra 'box2d'")
    for name in ("dmc/cartpole-balance", "box2d/car-racing", "box2d/car-racing-discrete"):
        env: Any = make(name, image_size=16, quality="draft")
        assert isinstance(env.action_space, gymnasium.spaces.Discrete) == takes_discrete(name)
        env.close()
