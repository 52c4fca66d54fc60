"""The assembler: from any image environment to an agent that acts, learns, and survives being saved."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import foveal
from foveal import FovealError
from foveal.methods import METHODS
from small_env import LENGTH, SIZE, Counter, SavedCounter, differing, small_agent, weights

REGISTERED = "foveal-tests/Counter-v0"
SHAPE = (9, SIZE, SIZE)


@pytest.fixture(autouse=True)
def _registered() -> Any:
    gymnasium.register(REGISTERED, entry_point=SavedCounter)
    yield
    del gymnasium.registry[REGISTERED]


def pictures(*batch: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (*batch, *SHAPE), np.uint8)


# --- environments -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["object", "class", "lambda", "registered id"])
def test_learns_from_a_users_own_environment(kind: str) -> None:
    made: list[Counter] = []

    def maker() -> Counter:
        made.append(SavedCounter())
        return made[-1]

    own = SavedCounter()
    env: Any = {"object": own, "class": SavedCounter, "lambda": maker, "registered id": REGISTERED}[kind]
    agent = small_agent(env)
    before = copy.deepcopy(agent.learner.policy.state_dict())

    assert agent.learn(30, progress=False) is agent

    assert (agent.steps, agent.updates) == (30, 21)
    assert differing(before, agent.learner.policy.state_dict()) == list(before)
    named = {"object": "SavedCounter", "class": "SavedCounter", "lambda": "maker", "registered id": REGISTERED}
    assert agent.env_id == named[kind]
    assert all(env.closed for env in made)  # what foveal made, foveal closes
    if kind == "object":
        assert not own.closed  # and what the user made stays the user's
        scores = foveal.evaluate(agent, episodes=2, progress=False)
        assert scores.conditions[0].returns.tolist() == [sum(range(1, LENGTH + 1))] * 2
        assert not own.closed


def test_an_environment_is_called_by_its_id_only_if_the_id_makes_it_again() -> None:
    assert small_agent(gymnasium.make(REGISTERED)).env_id == REGISTERED
    for own in (
        gymnasium.make(REGISTERED, discrete=False),
        gymnasium.make(REGISTERED, max_episode_steps=5),
        gymnasium.wrappers.TimeLimit(gymnasium.make(REGISTERED), 5),
    ):
        assert small_agent(own).env_id == "SavedCounter"


@pytest.mark.slow
def test_image_and_vectors() -> None:
    agent = small_agent(lambda: Counter(vector=True))
    agent.learn(15, progress=False)
    observation = {"image": pictures(), "vector": np.array([0.5, 0.1, 0.1], np.float32)}
    action, state = agent.predict(observation, deterministic=True)
    assert (action.shape, state) == ((2,), None)
    batch = {key: np.stack([value, value]) for key, value in observation.items()}
    actions, _ = agent.predict(batch, deterministic=True)
    np.testing.assert_allclose(actions, [action, action], atol=1e-6)
    batch["vector"][1] = -1
    assert not np.allclose(agent.predict(batch, deterministic=True)[0][1], action, atol=1e-6)

    for wrong in (
        pictures(),
        {"image": pictures()},
        {**observation, "more": 1},
        {**observation, "vector": np.zeros(2)},
        {**batch, "vector": np.zeros(3)},
    ):
        with pytest.raises(FovealError, match=r"observes|vector of 3 numbers"):
            agent.predict(wrong)


def test_predict_takes_one_observation_or_a_batch() -> None:
    agent = small_agent()
    batch = pictures(3)
    actions, state = agent.predict(batch, deterministic=True)
    assert (actions.shape, actions.dtype, state) == ((3, 2), np.float32, None)
    assert (np.abs(actions) <= 1).all()
    single, _ = agent.predict(batch[1], deterministic=True)
    np.testing.assert_allclose(single, actions[1], atol=1e-6)
    for wrong in (batch[:, :3], batch[0, 0], batch[None], {"image": batch}):
        with pytest.raises(FovealError, match=r"expected an observation of shape \(9, 36, 36\)|an image alone"):
            agent.predict(wrong)


def test_predict_takes_arrays_that_are_read_only_or_run_backwards() -> None:
    agent = small_agent()
    frozen = pictures()
    frozen.flags.writeable = False
    mirrored = pictures()[..., ::-1]
    same = np.ascontiguousarray(mirrored)
    assert agent.predict(frozen, deterministic=True)[0].shape == (2,)
    assert (agent.predict(mirrored, deterministic=True)[0] == agent.predict(same, deterministic=True)[0]).all()


def test_only_sampling_draws_random_numbers() -> None:
    agent, other = small_agent(seed=3), small_agent(seed=3)
    observation = pictures()
    first = agent.predict(observation)[0]
    assert not np.allclose(agent.predict(observation)[0], first)
    other.predict(observation, deterministic=True)
    assert (other.predict(observation)[0] == first).all()


def test_values_have_a_gradient_to_the_pixels_and_leave_no_other_trace() -> None:
    agent = small_agent(lambda: Counter(vector=True))
    obs = torch.from_numpy(pictures(4)).float().requires_grad_()
    values = agent.values(obs, torch.zeros(4, 2), torch.zeros(4, 3))
    assert values.shape == (2, 4)
    (gradient,) = torch.autograd.grad(values[0].sum(), obs)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    assert all(parameter.grad is None for parameter in agent.learner.parameters())


# --- what can't be served, said before any work -----------------------------------------------------------------------


class Plain(Counter):
    """Whatever observations are asked for."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any] | None = None) -> None:
        super().__init__()
        self.observation_space = observation
        self.action_space = action or self.action_space


IMAGE = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": "dmc/walker-wlk"}, "unknown environment 'dmc/walker-wlk': did you mean 'dmc/walker-walk'"),
        ({"method": "sqgn"}, "unknown method 'sqgn': did you mean 'sgqn'"),
        ({"learner": "sca"}, "unknown learner 'sca'.*sac"),
        ({"preset": "papr"}, "unknown preset 'papr': did you mean 'paper'"),
        ({"trainign": {}}, "unknown section 'trainign': did you mean 'training'"),
        ({"training": {"batch": 3}}, "unknown setting training.batch: did you mean 'batch_size'"),
        ({"training": {"batch_size": "many"}}, "training.batch_size must be int, not 'many'"),
        ({"training": {"batch_size": 0}}, "training.batch_size must be at least 1"),
        ({"training": {"environments": 0}}, "training.environments must be at least 1"),
        ({"training": {"updates_per_step": -1}}, "training.updates_per_step must be at least 0"),
        ({"sgqn": 5}, "sgqn must hold settings by name, not 5"),
        ({"sgqn": {"quantile": 1.5}}, r"sgqn.quantile must be in \[0, 1\)"),
        ({"environment": {"quality": "ugly"}}, "quality is 'ugly': choose one of: draft, exact, fast"),
        ({"env": lambda: Plain(spaces.Box(-1, 1, (4,)))}, "a vector of 4 numbers, not an image"),
        ({"env": lambda: Plain(spaces.Box(0, 1, (SIZE, SIZE, 3)))}, "give it as uint8"),
        ({"env": lambda: Plain(spaces.Box(0, 255, (SIZE, SIZE, 1), np.uint8))}, "a grayscale image"),
        (
            {"env": lambda: Plain(IMAGE, spaces.Discrete(3)), "learner": "sac"},
            "learner 'sac' needs Box actions.*Discrete",
        ),
        ({"env": lambda: Plain(IMAGE, spaces.MultiDiscrete([2, 2]))}, "MultiDiscrete actions"),
        ({"env": 5}, "a builtins.int is no environment"),
        ({"training": {"device": "cuda"}}, "PyTorch sees no GPU"),
        ({"training": {"device": "gpu"}}, "training.device is 'gpu'; use 'auto', 'cpu' or 'cuda'"),
        ({"training": {"precision": "float8"}}, "training.precision is 'float8': did you mean 'float32'"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FovealError, match=message):
        foveal.Agent(**{"env": SavedCounter, "preset": "debug", **settings})


# --- saved and loaded -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [name if name == "sgqn" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS.names()]
)
def test_a_saved_agent_learns_on_as_if_it_had_not_been_saved(method: str, tmp_path: Path) -> None:
    agent = small_agent(method=method).learn(20, progress=False)
    other = foveal.load(agent.save(tmp_path / "agent"))
    assert differing(weights(agent), weights(other)) == []
    assert (other.steps, other.updates, other.config) == (agent.steps, agent.updates, agent.config)
    batches = [agent.replay.sample(8) for _ in range(4)]  # type: ignore[union-attr]
    for learner in (agent, other):
        learner.method.get_ready()
        given = iter(batches)
        for _ in range(2):
            learner.updater.update(next(given), lambda _, given=given: next(given))
            given = iter(batches[2:])
    assert differing(weights(agent), weights(other)) == []
    size = agent.env_options["image_size"]
    picture = np.full((agent.shapes.image[0], size, size), 200, np.uint8)
    assert agent.predict(picture)[0].tolist() == other.predict(picture)[0].tolist()


@pytest.mark.slow
def test_an_agent_is_saved_over_its_older_self_and_over_nothing_else(tmp_path: Path) -> None:
    agent = small_agent()
    agent.save(tmp_path / "agent")
    agent.learn(12, progress=False).save(tmp_path / "agent")
    assert foveal.load(tmp_path / "agent").steps == 12
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(FovealError, match="won't replace"):
        agent.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all of it"


def test_an_agent_without_its_environment_acts_and_says_what_it_lacks(tmp_path: Path) -> None:
    small_agent(lambda: SavedCounter(), seed=4).save(tmp_path / "agent")
    agent = foveal.load(tmp_path / "agent")
    assert agent.predict(pictures(), deterministic=True)[0].shape == (2,)
    with pytest.raises(FovealError, match=r"unknown environment '<lambda>'"):
        foveal.evaluate(agent, episodes=1, progress=False)
    agent = foveal.load(tmp_path / "agent", env=SavedCounter)
    assert foveal.evaluate(agent, episodes=1, progress=False).conditions[0].returns.tolist() == [45.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pretrained:nonsense", "no pretrained policy 'nonsense'; these ship with foveal: "),
        ("pretrained:../agent", "no pretrained policy"),
        ("{}/nothing", "nothing is not a foveal checkpoint: there is nothing of that name"),
        ("{}/empty", "empty is not a foveal checkpoint: it has no manifest.json"),
        ("{}/young", "young is a run without a checkpoint yet"),
    ],
)
def test_nothing_to_load(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "young").mkdir()
    (tmp_path / "young" / "config.yaml").write_text("env: here\n")
    with pytest.raises(FovealError, match=message):
        foveal.load(name.format(tmp_path))


def test_weights_of_other_networks_are_refused() -> None:
    tensors, state = small_agent(sac={"hidden": 24}).state()
    with pytest.raises(FovealError, match="do not fit the networks"):
        small_agent().load_state(tensors, state)


def test_an_agent_from_a_gpu_is_loaded_without_one() -> None:
    agent, other = small_agent(seed=1), small_agent(seed=2)
    tensors, state = agent.state()
    tensors |= {name: torch.zeros(16, dtype=torch.uint8) for name in tensors if name.startswith("generators/")}
    state["device"] = "cuda"  # whose generators have 16 bytes of state
    other.load_state(tensors, state)
    changed = differing(weights(agent), weights(other))
    assert changed == [name for name in tensors if name.startswith("generators/")]


# --- learning on ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_call_of_learn_goes_on_with_the_same_memory() -> None:
    env = SavedCounter()
    agent = small_agent(env)
    for _ in range(3):
        agent.learn(8, progress=False)
    assert (agent.steps, agent.updates) == (24, 15)  # from the 10th step on, whatever call that is in
    assert len(agent.replay) == 24  # type: ignore[arg-type]
    begun = [seed for seed in env.resets if seed is not None]
    assert len(set(begun)) == 3  # other episodes than the first ones


@pytest.mark.slow
def test_a_loaded_agent_collects_before_it_updates(tmp_path: Path) -> None:
    agent = small_agent().learn(30, progress=False)
    agent.save(tmp_path / "agent")
    other = foveal.load(tmp_path / "agent", env=SavedCounter)
    other.learn(9, progress=False)
    assert (other.steps, other.updates) == (39, agent.updates)
    other.learn(3, progress=False)
    assert other.updates == agent.updates + 3  # at steps 40, 41 and 42


@pytest.mark.slow
@pytest.mark.parametrize("environments", [1, 3])
def test_replay_never_holds_the_step_that_resets(environments: int) -> None:
    agent = small_agent(training={"environments": environments, "initial_random_steps": 80})
    agent.learn(75, progress=False)
    assert agent.steps == 75
    batch = agent.replay.sample(2000)  # type: ignore[union-attr]
    latest, following = batch.obs.image[:, -1, -1, -1].int(), batch.next_obs.image[:, -1, -1, -1].int()
    assert torch.equal(following, latest + 1)  # pictures follow each other; a reset would make two at once
    # Within each episode of LENGTH steps, LENGTH + 1 pictures: the step that the reward tells must be the picture's.
    assert torch.equal(following % (LENGTH + 1), batch.reward.int())
    assert set(batch.reward.tolist()) == set(range(1, LENGTH + 1))
    assert (batch.discount > 0).all()  # the time limit is no termination
