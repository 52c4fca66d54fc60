"""SADA: a policy that acts on what is augmented, and is judged on what is not; and what the published code computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

import foveal
from foveal.augmentations import ALL
from foveal.augmentations.mixture import Mixture
from foveal.config.tree import configure
from foveal.errors import FovealError
from foveal.learners import Shapes
from foveal.learners import sac as sac_module
from foveal.learners.sac import SAC, SACConfig
from foveal.methods import METHODS, Context, EstimatedView, PolicyView
from foveal.methods.sada import SADA, SADAConfig
from foveal.methods.svea import SVEA, SVEAConfig
from foveal.networks.encoders import EncoderConfig
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from oracle import problem, views_problem
from small_env import Counter, SavedCounter, small_agent

ORACLE = np.load(Path(__file__).parents[1] / "oracle" / "sada.npz")


def agent_of(method: str = "sada", learner: str = "sac", **settings: Any) -> foveal.Agent:
    env = SavedCounter if learner == "sac" else lambda: SavedCounter(discrete=True)
    agent = small_agent(env, method=method, learner=learner, training={"precision": "float32"}, **settings)
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in [*agent.learner.parameters(), *agent.method.parameters()]:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draws))
    agent.method.get_ready()
    return agent


def batch_for(agent: foveal.Agent, size: int = 4, seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, size, *agent.shapes.image), generator=draws, dtype=torch.uint8)
    if agent.config.learner == "dqn":
        action = torch.randint(0, 3, (size,), generator=draws)
    else:
        action = torch.rand(size, agent.learner.action_size, generator=draws) * 2 - 1
    reward = torch.rand(size, generator=draws)
    return Batch(Observation(images[0]), action, reward, torch.full((size,), 0.9), Observation(images[1]))


def no_sample(size: int) -> Batch:
    raise AssertionError(f"a further batch of {size}")


class PolicyStep:
    """What the policy's step was given, and the learner and its generator just before."""

    def __init__(self, agent: foveal.Agent) -> None:
        self.encoded: list[Tensor] = []
        learner: Any = agent.learner
        step, features = learner.policy_step, learner.features

        def noted(obs: Observation, *rest: Any) -> Any:
            self.obs = obs
            self.generator = torch.Generator().set_state(agent.generator.get_state())
            self.learner: Any = SAC(agent.config.learner_config, agent.shapes, torch.float32)
            self.learner.load_state_dict(learner.state_dict())
            return step(obs, *rest)

        def encode(obs: Observation) -> Tensor:
            if not torch.is_grad_enabled():
                self.encoded.append(obs.image)
            return features(obs)  # type: ignore[no-any-return]

        learner.policy_step, learner.features = noted, encode


def actor_loss(noted: PolicyStep, acts: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
    """SAC's loss where actions on ``acts`` are judged on ``judged``, and the policy's entropy."""
    learner = noted.learner
    noise = torch.randn(len(acts), 2, generator=torch.Generator().set_state(noted.generator.get_state()))
    mean, log_std = learner._gaussian(learner.features(Observation(acts)), None)
    action = torch.tanh(mean + log_std.exp() * noise)
    normal = torch.distributions.Normal(mean, log_std.exp())
    log_prob = (normal.log_prob(mean + log_std.exp() * noise) - torch.log(1 - action.square() + 1e-7)).sum(1)
    value = learner.critics(learner.latent(Observation(judged)), action).amin(0)
    return (learner.log_alpha.exp() * log_prob - value).mean().detach(), -log_prob.mean().detach()


def watched(agent: foveal.Agent) -> list[Context]:
    contexts: list[Context] = []
    real = agent.method.policy_views
    agent.method.policy_views = lambda context: (contexts.append(context), real(context))[1]  # type: ignore[method-assign]
    return contexts


# --- the policy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", ["conv", "mixture"])
def test_the_policy_acts_on_both_views_and_is_judged_on_the_clean_one(augmentation: str) -> None:
    agent = agent_of(sada={"augmentation": augmentation})
    noted, contexts = PolicyStep(agent), watched(agent)
    metrics = agent.updater.update(batch_for(agent, 6), no_sample)
    weak, strong = (view.obs.image for view in contexts[0].views)
    assert not torch.allclose(weak, strong.float())
    assert torch.equal(noted.obs.image, torch.cat([weak, strong]))
    loss, entropy = actor_loss(noted, torch.cat([weak, strong]), torch.cat([weak, weak]))
    torch.testing.assert_close(metrics["actor/loss"], loss, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(metrics["actor/entropy"], entropy, rtol=1e-3, atol=1e-4)  # of both halves
    naive, _ = actor_loss(noted, torch.cat([weak, strong]), torch.cat([weak, strong]))
    assert abs(float(naive - loss)) > 1e-3


def test_svea_is_what_is_left_without_that() -> None:
    """A negative control: under the same augmentation SVEA's policy acts on the clean view alone."""
    agent = agent_of("svea", svea={"augmentation": "mixture"})
    noted = PolicyStep(agent)
    agent.updater.update(batch_for(agent, 6), no_sample)
    assert len(noted.obs.image) == 6
    for hook in ("views", "prepare", "observe", "critic_loss", "auxiliary"):
        assert getattr(SADA, hook) is getattr(SVEA, hook)


@pytest.mark.slow
def test_it_costs_one_pass_of_the_encoder_for_each_view() -> None:
    agent = agent_of()
    noted = PolicyStep(agent)
    agent.updater.update(batch_for(agent), no_sample)
    assert len(noted.encoded) == 3  # the next observation's of the targets, and the two views'


def test_views_of_another_method_serve_it_too() -> None:
    """The clean observation is the batch's, whatever the first view is, and there may be any number of views."""
    agent = agent_of()
    batch = batch_for(agent)
    batch = batch.replace(obs=batch.obs.float(), next_obs=batch.next_obs.float())
    shown = [batch.obs._replace(image=batch.obs.image / number) for number in (1, 2, 3)]
    views = [EstimatedView(obs, 1.0, agent.learner.estimate(obs, batch.action), obs) for obs in shown]
    context = Context(agent.learner, batch, batch, views, 0, no_sample)
    context.critic_stepped()
    found = agent.method.policy_views(context)
    assert found == [PolicyView(obs, batch.obs) for obs in (batch.obs, *shown[1:])]
    assert all(view.critic is batch.obs for view in found) and found[0].actor is batch.obs


def test_behind_a_trained_mask_the_policy_acts_on_what_is_shown_now() -> None:
    METHODS.names()
    METHODS.register("masked-sada")(type("Both", (SADA, METHODS.get("madi")), {"Config": METHODS.get("madi").Config}))
    try:
        agent = agent_of("masked-sada", **{"masked-sada": {"augmentation": "conv"}})
        noted, contexts = PolicyStep(agent), watched(agent)
        agent.updater.update(batch_for(agent), no_sample)
        views = [contexts[0].views[number].prepared for number in range(2)]
        now = [agent.method.observe(obs).image.detach() for obs in views]
        torch.testing.assert_close(noted.obs.image, torch.cat([image.float() for image in now]))
        assert not torch.equal(now[1], contexts[0].views[1].obs.image.detach())
    finally:
        del METHODS._entries["masked-sada"]


def test_a_learner_without_a_policy_has_its_views_alone() -> None:
    agent = agent_of(learner="dqn")
    metrics = agent.updater.update(batch_for(agent), no_sample)
    assert not any("actor" in name for name in metrics) and bool(metrics["critic/loss"].isfinite())


# --- the mixture of augmentations -------------------------------------------------------------------------------------


def test_its_augmentation_is_the_mixture_that_the_settings_name() -> None:
    agent = agent_of(sada={"mixture": ["rotate", "rotate-shift"]})
    built: Any = agent.method.augment.build()  # type: ignore[union-attr]
    assert isinstance(built, Mixture) and set(built.built) == {"rotate", "strong-shift"}
    assert SADAConfig().mixture == ALL and SADAConfig().augmentation == "mixture"


@pytest.mark.parametrize("config", [SADAConfig, SVEAConfig])
@pytest.mark.parametrize("mixture", [(), ("conv", "mixture")])
def test_a_mixture_of_nothing_or_of_itself_is_refused(config: type, mixture: tuple[str, ...]) -> None:
    with pytest.raises(FovealError, match=rf"^{config.section}\.mixture must name at least one"):  # type: ignore[attr-defined]
        config(mixture=mixture)


# --- the published run ------------------------------------------------------------------------------------------------


def test_the_paper_preset_is_the_published_run() -> None:
    config = configure("dmc/cartpole-swingup", "sada", "sac")
    training, encoder = config.training, config.learner_config.encoder
    assert config.environment.action_repeat == 2
    assert (training.batch_size, training.updates_per_step, training.catch_up_updates) == (256, 0.5, 0)
    assert training.initial_random_steps == 2000
    assert (encoder.strides, encoder.filters, encoder.projection) == ((2, 1, 1, 1), 32, 50)
    assert encoder.centred and encoder.last_relu and encoder.initialization == "orthogonal"
    assert (config.method_config.clean_weight, config.method_config.augmented_weight) == (0.5, 0.5)
    assert config.method_config.shift == 4
    compact = configure("dmc/cartpole-swingup", "sada", "sac", "compact")
    assert compact.environment.action_repeat is None and compact.learner_config.encoder.strides == (2, 1)


# --- against the published class --------------------------------------------------------------------------------------


def published() -> tuple[Any, dict[str, Tensor]]:
    """Our learner with the problem's heads, and these by the problem's names; features are given."""
    encoder = EncoderConfig(strides=(2,), filters=3, projection=views_problem.LATENT)  # 3 * 2 * 2 features
    config = SACConfig(encoder=encoder, hidden=views_problem.HIDDEN, initial_temperature=problem.TEMPERATURE)
    shapes = Shapes((9, 5, 5), 0, spaces.Box(-1.0, 1.0, (problem.ACTIONS,), np.float32))
    learner: Any = SAC(config, shapes, torch.float32, torch.Generator())
    assert learner.feature_size == views_problem.FEATURES
    layers: dict[str, Any] = {f"policy.{i}": learner.policy[2 * i] for i in range(3)}
    layers |= {f"critics.{h}.{i}": learner.critics.heads[h][2 * i] for h in range(2) for i in range(3)}
    for name in ("projection", "actor_projection"):
        layers |= {f"{name}.{part}": getattr(getattr(learner, name), part) for part in ("linear", "norm")}
    held = {f"{name}.{kind}": getattr(layer, kind) for name, layer in layers.items() for kind in ("weight", "bias")}
    initial = views_problem.heads()
    assert held.keys() == initial.keys()
    with torch.no_grad():
        for name, value in initial.items():
            held[name].copy_(torch.from_numpy(value))
    return learner, held


def test_the_policys_step_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, held = published()
    monkeypatch.setattr(sac_module, "_normal_like", lambda *_: torch.from_numpy(views_problem.noise()))
    clean, augmented = (Observation(torch.full((problem.BATCH, 9, 5, 5), float(value))) for value in (1, 2))
    features = dict(zip((1.0, 2.0), map(torch.from_numpy, views_problem.features()), strict=True))
    monkeypatch.setattr(learner, "features", lambda obs: features[float(obs.image.flatten()[0])])
    action = torch.zeros(problem.BATCH, problem.ACTIONS)
    batch = Batch(clean, action, action[:, 0], action[:, 0], clean)
    views = [EstimatedView(obs, 0.5, learner.estimate(obs, action), obs) for obs in (clean, augmented)]
    context = Context(learner, batch, batch, views, 0, no_sample)
    context.critic_stepped()
    gradients: dict[str, Tensor] = {}
    names = {id(tensor): name for name, tensor in held.items()}

    def note(optimizer: Any, *_: Any) -> None:
        for parameter in optimizer.param_groups[0]["params"]:
            gradients[names[id(parameter)]] = parameter.grad.clone()

    learner.actor_optimizer.register_step_pre_hook(note)

    class Only:
        """The method as far as the policy's step asks for it."""

        policy_views, actor_loss = SADA.policy_views, SADA.actor_loss
        needs_policy = True

        def critic_parameters(self) -> list[Any]:
            return []

    metrics = Updater(learner, Only(), pixel_gradient=False)._policy_step(context)  # type: ignore[arg-type]
    assert float(metrics["actor/loss"]) == pytest.approx(float(ORACLE["actor_loss"]), rel=1e-5)
    assert float(metrics["actor/entropy"]) == pytest.approx(float(ORACLE["actor_entropy"]), rel=1e-5)
    # The temperature's loss is alpha times what its gradient, by the logarithm of alpha, is too: a difference of two
    # numbers a hundred times as large.
    assert float(learner.log_alpha.grad) == pytest.approx(float(ORACLE["alpha_loss"]), abs=2e-7)
    assert {f"gradient/{name}" for name in gradients} == {name for name in ORACLE if "gradient" in name}
    for name, value in gradients.items():
        wanted = ORACLE[f"gradient/{name}"]
        limit = 1e-5 * float(np.abs(wanted).max())
        np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-4, atol=limit, err_msg=name)


# --- at work ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_trains_and_is_evaluated_and_explained(tmp_path: Path) -> None:
    agent = small_agent(Counter, method="sada").learn(20, progress=False, evaluate_every=0)
    assert agent.updates == 11
    results = foveal.evaluate(agent, episodes=1, progress=False)
    assert len(results.conditions[0].episodes) == 1
    assert foveal.explain(agent, out=tmp_path / "page.html", progress=False, moments=4, frames=2).is_file()
