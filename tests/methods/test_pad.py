"""PAD's task against its formulas, and what its steps move in training and at test time, of which nothing stays."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import foveal
from foveal.cli import main
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.methods import Context
from foveal.methods.pad import PAD, PADConfig, turned
from foveal.types import Batch, Observation
from small_env import LENGTH, SIZE, Counter, SavedCounter, differing, small_agent, weights
from small_updates import batch_for, cropped, method_agent, moved, no_sample, parts, peek

HEAD = {"method.own_layers", "method.projection", "method.head"}


def mlp(network: Any, x: Tensor) -> Tensor:
    """Linear layers with ReLUs between them."""
    first, second, third = (layer for layer in network if isinstance(layer, nn.Linear))
    return third(torch.relu(second(torch.relu(first(x)))))


def head_latent(agent: foveal.Agent, image: Tensor, shared: int) -> Tensor:
    """The learner's first convolutions, then the head's own, its projection, layer normalisation and tanh."""
    method: Any = agent.method
    learners = [layer for layer in agent.learner.convolutions.modules() if isinstance(layer, nn.Conv2d)]
    own = list(method.own_layers)
    hidden = image / 255
    kernels = [*learners[:shared], *own]
    for index, layer in enumerate(kernels):
        hidden = layer(hidden)
        hidden = torch.relu(hidden) if index + 1 < len(kernels) else hidden
    features = hidden.permute(0, 2, 3, 1).flatten(1)
    linear = method.projection.linear(features)
    norm = method.projection.norm
    normal = (linear - linear.mean(1, keepdim=True)) / (linear.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    return torch.tanh(normal * norm.weight + norm.bias)


def quarter_turns(image: Tensor, turns: Tensor) -> Tensor:
    """Each (C, H, H) turned against the clock, pixel by pixel."""
    side, out = image.shape[-1], image.clone()
    for sample, turn in enumerate(turns.tolist()):
        for _ in range(turn):
            before = out[sample].clone()
            for row in range(side):
                out[sample, :, row] = before[:, :, side - 1 - row]
    return out


def step_of(agent: foveal.Agent, batch: Batch) -> tuple[foveal.Agent, dict[str, Tensor], dict[str, Tensor]]:
    """A copy from before the task's step of update 0, the weights then, and the update's metrics."""
    before: list[Any] = []
    real = agent.method.auxiliary

    def noted(context: Context) -> dict[str, Tensor]:
        before.append((copy.deepcopy((agent.learner, agent.method)), parts(agent)))
        return real(context)

    agent.method.auxiliary = noted  # type: ignore[method-assign]
    metrics = agent.updater.update(batch, no_sample)
    ((learner, method), held) = before[0]
    then = copy.copy(agent)
    then.learner, then.method = learner, method
    return then, held, metrics


def assert_step_follows(agent: foveal.Agent, then: foveal.Agent, loss: Tensor) -> None:
    """The gradients of the step are those of ``loss``, computed on the networks of before."""
    method: Any = then.method
    plain = torch.autograd.grad(loss, method.auxiliary_parameters())
    ours: Any = agent.method
    for parameter, gradient in zip(ours.auxiliary_parameters(), plain, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


# --- in training ------------------------------------------------------------------------------------------------------


def test_the_inverse_task_predicts_the_action_from_two_latents() -> None:
    agent = method_agent("pad")
    batch, draws = batch_for(agent, 5), peek(agent)
    obs, next_obs = (cropped(each.image, draws, SIZE) for each in (batch.obs, batch.next_obs))
    then, _, metrics = step_of(agent, batch)
    method: Any = then.method
    pair = torch.cat([head_latent(then, obs, 2), head_latent(then, next_obs, 2)], 1)
    loss = (mlp(method.head, pair) - batch.action).square().mean()
    torch.testing.assert_close(metrics["pad/loss"], loss.detach(), rtol=1e-4, atol=1e-6)
    assert_step_follows(agent, then, loss)


def test_discrete_actions_are_told_apart() -> None:
    agent = method_agent("pad", "dqn")
    batch, draws = batch_for(agent, 5), peek(agent)
    obs, next_obs = (cropped(each.image, draws, SIZE) for each in (batch.obs, batch.next_obs))
    then, _, metrics = step_of(agent, batch)
    method: Any = then.method
    pair = torch.cat([head_latent(then, obs, 2), head_latent(then, next_obs, 2)], 1)
    scores = mlp(method.head, pair)
    loss = (scores.exp().sum(1).log() - scores[torch.arange(5), batch.action]).mean()
    torch.testing.assert_close(metrics["pad/loss"], loss.detach(), rtol=1e-4, atol=1e-6)
    assert_step_follows(agent, then, loss)


def test_the_rotation_task_predicts_quarter_turns_of_the_first_observation() -> None:
    agent = method_agent("pad", pad={"task": "rotation"})
    agent.updater.updates = 0
    batch, draws = batch_for(agent, 5), peek(agent)
    obs = cropped(batch.obs.image, draws, SIZE)
    states: list[Tensor] = []
    real = agent.method.auxiliary
    agent.method.auxiliary = lambda context: (states.append(agent.generator.get_state()), real(context))[1]  # type: ignore[method-assign]
    then, _, metrics = step_of(agent, batch)
    turns = torch.randint(4, (5,), generator=torch.Generator().set_state(states[0]))
    method: Any = then.method
    scores = mlp(method.head, head_latent(then, quarter_turns(obs, turns), 2))
    loss = (scores.exp().sum(1).log() - scores[torch.arange(5), turns]).mean()
    torch.testing.assert_close(metrics["pad/loss"], loss.detach(), rtol=1e-4, atol=1e-6)
    assert_step_follows(agent, then, loss)


def test_images_are_turned_each_by_its_own_quarters() -> None:
    images = torch.arange(8 * 3 * 4 * 4).view(8, 3, 4, 4)
    turns = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    assert torch.equal(turned(images, turns), quarter_turns(images, turns))


def test_its_step_moves_the_shared_convolutions_and_the_head_alone() -> None:
    agent = method_agent("pad")
    _, before, _ = step_of(agent, batch_for(agent))
    assert moved(before, agent) == {"learner.convolutions", *HEAD}
    after = parts(agent)
    names = [name for name in before if name.startswith("learner.convolutions") and name.endswith("weight")]
    assert [not torch.equal(before[name], after[name]) for name in names] == [True, True, False]  # two of three


def test_every_second_update_has_a_step() -> None:
    agent = method_agent("pad")
    seen = ["pad/loss" in agent.updater.update(batch_for(agent), no_sample) for _ in range(4)]
    assert seen == [True, False, True, False]


@pytest.mark.parametrize(("shared", "own"), [(1, 2), (2, 1), (3, 0), (8, 0)])
def test_the_head_shares_as_many_convolutions_as_there_are(shared: int, own: int) -> None:
    agent = method_agent("pad", pad={"shared_layers": shared})
    method: Any = agent.method
    assert len(method.own_layers) == own
    image = torch.randint(0, 256, (2, 9, SIZE, SIZE)).float()
    torch.testing.assert_close(method.latent(image), head_latent(agent, image, min(shared, 3)), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        agent.learner.convolutions.layers[0].weight.mul_(2)  # type: ignore[union-attr,index,operator]
    torch.testing.assert_close(method.latent(image), head_latent(agent, image, min(shared, 3)), rtol=1e-4, atol=1e-5)


def test_what_is_shared_is_saved_once() -> None:
    agent = method_agent("pad")
    shapes = [tensor.shape for tensor in agent.method.state_dict().values()]
    assert agent.learner.convolutions.layers[0].weight.shape not in shapes  # type: ignore[union-attr,index]


@pytest.mark.slow
def test_actions_are_learnt_from_what_they_change() -> None:
    """Where an action is the change of brightness, the loss falls far below the actions' variance of a third."""
    agent = method_agent("pad", shake=0.0, pad={"hidden": 64, "auxiliary_lr": 3e-3})
    batch = batch_for(agent, 24)
    level = 128 + 100 * batch.action[:, :1, None, None]  # (B, 1, 1, 1)
    next_image = level.expand_as(batch.next_obs.image).to(torch.uint8)
    batch = batch.replace(
        obs=Observation(torch.full_like(next_image, 128)),
        next_obs=Observation(next_image),
        action=batch.action[:, :1].expand(-1, 2).contiguous(),
    )
    losses = [agent.updater.update(batch, no_sample).get("pad/loss") for _ in range(120)]
    assert losses[0] is not None and losses[-2] is not None
    assert float(losses[-2]) < 0.1 < float(losses[0])


# --- at test time -----------------------------------------------------------------------------------------------------


def transition(agent: foveal.Agent) -> Any:
    """A step of an episode as an evaluation tells it."""
    batch = batch_for(agent, 1, seed=3)
    return batch.obs.image[0].numpy(), batch.action[0].numpy(), 1.0, batch.next_obs.image[0].numpy(), False


def test_a_step_of_an_episode_is_a_step_on_crops_of_one_transition() -> None:
    agent = method_agent("pad", pad={"adaptation_batch": 6})
    for _ in range(3):
        agent.updater.update(batch_for(agent), no_sample)
    method: Any = agent.method
    obs, action, _, next_obs, _ = step = transition(agent)
    draws = peek(agent)
    many = [torch.from_numpy(image).expand(6, -1, -1, -1) for image in (obs, next_obs)]
    first, second = (cropped(each, draws, SIZE) for each in many)
    assert len({tuple(crop.flatten().tolist()) for crop in first}) > 1
    pair = torch.cat([head_latent(agent, first, 2), head_latent(agent, second, 2)], 1)
    loss = (mlp(method.head, pair) - torch.from_numpy(action)).square().mean()
    gradients = torch.autograd.grad(loss, method.auxiliary_parameters())
    held = [parameter.detach().clone() for parameter in method.auxiliary_parameters()]
    before = parts(agent)
    with agent.adapting() as adapt:
        assert adapt is not None
        adapt(*step)
        assert moved(before, agent) == {"learner.convolutions", *HEAD}  # nothing of the policy or the critic
        for parameter, start, gradient in zip(method.auxiliary_parameters(), held, gradients, strict=True):
            clear = gradient.abs() > 1e-5  # Adam's first step, whatever training's moments are: lr times the sign
            torch.testing.assert_close(
                (start - parameter.detach())[clear], 1e-3 * gradient.sign()[clear], rtol=0, atol=2e-5
            )
    assert moved(before, agent) == set()


@pytest.mark.slow
def test_every_episode_begins_with_the_trained_weights_and_a_new_optimizer() -> None:
    agent = small_agent(method="pad").learn(16, progress=False, evaluate_every=0)
    before = weights(agent)
    outcomes = []
    for _ in range(2):
        with agent.adapting() as adapt:
            assert adapt is not None
            for _ in range(3):
                adapt(*transition(agent))
            outcomes.append(weights(agent))
        assert differing(before, weights(agent)) == []
        assert not agent.method.optimizers()["pad_adaptation"].state
        assert agent.method.optimizers()["pad"].state
    assert differing(*outcomes) == []
    changed = differing(before, {name: outcomes[0][name] for name in before})
    assert not [name for name in changed if "policy" in name or "critics" in name or "actor_projection" in name]
    assert "learner/convolutions.layers.0.weight" in changed


def test_what_was_learnt_changes_the_next_action() -> None:
    agent = method_agent("pad")
    obs, action, *rest = transition(agent)
    first = agent.predict(obs, deterministic=True)[0]
    with agent.adapting() as adapt:
        assert adapt is not None
        adapt(obs, action, *rest)
        assert not np.array_equal(agent.predict(obs, deterministic=True)[0], first)
    np.testing.assert_array_equal(agent.predict(obs, deterministic=True)[0], first)


def test_acting_goes_on_seeing_the_centre_while_it_adapts() -> None:
    agent = method_agent("pad")
    obs, *rest = transition(agent)
    edges = obs.copy()
    edges[:, :3], edges[:, -4:], edges[..., :3], edges[..., -4:] = 0, 0, 0, 0
    with agent.adapting() as adapt:
        assert adapt is not None
        adapt(obs, *rest)
        np.testing.assert_array_equal(*(agent.predict(x, deterministic=True)[0] for x in (obs, edges)))


@pytest.mark.parametrize("task", ["inverse", "rotation"])
@pytest.mark.parametrize(("learner", "discrete"), [("sac", False), ("dqn", True)])
@pytest.mark.slow
def test_episodes_with_vectors_other_stacks_and_either_kind_of_action(task: str, learner: str, discrete: bool) -> None:
    settings = {"environment": {"frame_stack": 2}, "pad": {"task": task}}
    agent = small_agent(lambda: Counter(vector=True, discrete=discrete), method="pad", learner=learner, **settings)
    before = weights(agent)
    results = foveal.evaluate(agent, episodes=2, progress=False, adapt=True)
    assert [episode.length for episode in results.conditions[0].episodes] == [LENGTH] * 2
    assert results.policy["adapted"] is True
    assert differing(before, weights(agent)) == []


@pytest.mark.slow
def test_a_policy_alone_adapts_too(tmp_path: Path) -> None:
    """What was saved to act and no more still has the head."""
    agent = small_agent(method="pad").learn(14, progress=False, evaluate_every=0)
    loaded = foveal.load(agent.save(tmp_path / "policy", policy_only=True), env=SavedCounter)
    assert isinstance(loaded, foveal.Agent)
    obs, *rest = transition(agent)
    first = loaded.predict(obs, deterministic=True)[0]
    with loaded.adapting() as adapt:
        assert adapt is not None
        adapt(obs, *rest)
        assert not np.array_equal(loaded.predict(obs, deterministic=True)[0], first)


@pytest.mark.slow
def test_the_command_adapts_in_a_simulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = "--method pad --preset debug --environment.action-repeat 50 --steps 60 --evaluate-every 0 --out run"
    assert main(["train", "dmc/cartpole-swingup", *options.split()]) == 0
    returns = {}
    for name, flags in {"still": [], "adapting": ["--adapt"], "again": ["--adapt"]}.items():
        where = f"--on train color_hard --episodes 3 --out {name}.json"
        assert main(["evaluate", "run", *where.split(), *flags]) == 0
        results = Results.load(tmp_path / f"{name}.json")
        assert results.policy.get("adapted", False) == (name != "still")
        returns[name] = [list(condition.returns) for condition in results.conditions]
    assert "color_hard" in capsys.readouterr().out
    assert returns["adapting"] == returns["again"]  # its crops are drawn alike
    assert all(one != other for one, other in zip(returns["still"], returns["adapting"], strict=True))


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_its_numbers_are_the_authors() -> None:
    config = PADConfig()
    assert (config.task, config.shared_layers, config.hidden) == ("inverse", 8, 1024)
    assert (config.auxiliary_period, config.auxiliary_lr) == (2, 1e-3)
    assert (config.adaptation_lr, config.adaptation_batch) == (1e-3, 32)
    assert PAD.requirements(config, 84).render_size == 100
    agent = small_agent(method="pad", pad={"adaptation_lr": 0.01})
    for name, lr in (("pad", 1e-3), ("pad_adaptation", 0.01)):
        (group,) = agent.method.optimizers()[name].param_groups
        assert (group["lr"], group["betas"], group["weight_decay"]) == (lr, (0.9, 0.999), 0)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(FovealError, match=r"^pad\.task is 'invers': did you mean 'inverse'\?$"):
        PADConfig(task="invers")


def test_an_observation_of_the_encoders_size_is_shown_as_it_is() -> None:
    agent = method_agent("pad")
    obs = Observation(torch.zeros(1, 9, SIZE, SIZE))
    assert agent.method.observe(obs) is obs
