"""One update: what happens in which order, what is computed once, and who is given which gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from foveal.augmentations import AugmentationOptions
from foveal.errors import FovealError
from foveal.learners import CriticInput, Estimate, PolicyView, Shapes, ValueLearner
from foveal.learners.sac import SAC, SACConfig
from foveal.methods import Context, Method, Setup, View
from foveal.networks.encoders import EncoderConfig
from foveal.training.updater import Updater, differentiable
from foveal.types import Batch, Observation
from small_env import small_agent

IMAGE = (3, 4, 4)


class Scale(nn.Module):
    """One number times what goes in."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


class Toy(ValueLearner):
    """Value: c * p * mean pixel, with one weight for convolutions and one for the projection. Notes what is called."""

    def __init__(self, events: list[str], periods: tuple[int, int] = (1, 1)) -> None:
        super().__init__(None, Shapes(IMAGE, 0, spaces.Discrete(2)), torch.float32)
        self.events, self.periods = events, periods
        self.convolutions, self.projection, self.policy = Scale(2.0), Scale(3.0), Scale(5.0)
        self.target_batches: list[Batch] = []
        self.policy_calls: list[tuple[Observation, Callable[[], Tensor] | None]] = []
        self.judgements: list[tuple[Tensor | None, CriticInput | None]] = []
        self.images: list[Tensor] = []

    def estimate(self, obs: Observation, action: Tensor) -> Estimate:
        self.events.append("estimate")
        self.images.append(obs.image)
        features = self.convolutions(obs.image.mean((1, 2, 3)))
        latent = self.projection(features)
        return Estimate(features, latent, latent[None] + 0 * self.policy.weight, latent[None])

    def targets(self, batch: Batch) -> Tensor:
        self.events.append("targets")
        self.target_batches.append(batch)
        return batch.reward

    def td_loss(self, estimate: Estimate, target: Tensor) -> Tensor:
        self.events.append("td_loss")
        return (estimate.prediction - target).square().mean()

    def action_features(self, action: Tensor) -> Tensor:
        return action

    def critic_parameters(self) -> list[nn.Parameter]:
        return self.encoder_parameters

    def critic_optimizer(self, extra: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD([*self.critic_parameters(), *extra], lr=0.1)

    def policy_step(
        self,
        obs: Observation,
        extra_loss: Callable[[], Tensor] | None = None,
        features: Tensor | None = None,
        critic_input: CriticInput | None = None,
    ) -> dict[str, Tensor]:
        self.events.append("policy_step")
        self.policy_calls.append((obs, extra_loss))
        self.judgements.append((features, critic_input))
        return {"actor/loss": torch.tensor(7.0)}

    def update_target_networks(self) -> None:
        self.events.append("update_target_networks")

    def act(self, obs: Observation, deterministic: bool, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def best_action(self, obs: Observation) -> Tensor:
        raise NotImplementedError

    def policy_periods(self) -> tuple[int, int]:
        return self.periods

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"actor": torch.optim.SGD(self.policy.parameters(), lr=0.1)}


class Busy(Method):
    """Every hook, noted: a trained brightness to observe through, two views, critic terms and a step of its own."""

    def __init__(self, learner: ValueLearner, events: list[str]) -> None:
        super().__init__(None, Setup(learner, IMAGE, AugmentationOptions(8), torch.Generator(), torch.float32))
        self.events = events
        self.brightness = Scale(0.5)
        self.other = Scale(1.0)
        self.contexts: list[Context] = []
        self.shown: list[Batch] = []

    def prepare(self, batch: Batch) -> Batch:
        self.events.append("prepare")
        assert batch.obs.image.dtype == torch.uint8
        return batch

    def observe(self, obs: Observation) -> Observation:
        self.events.append("observe")
        assert obs.image.dtype == torch.float32
        return obs._replace(image=self.brightness(obs.image))

    def views(self, batch: Batch) -> list[View]:
        self.events.append("views")
        self.shown.append(batch)
        darker = Observation(batch.obs.image.detach() / 4)
        return [View(batch.obs, 0.25), View(darker, 0.75)]

    def critic_loss(self, context: Context) -> dict[str, Tensor]:
        self.events.append("critic_loss")
        self.contexts.append(context)
        return {"tidy": 2.0 * context.learner.convolutions.weight.square(), "neat": torch.tensor(1.0)}  # type: ignore[operator]

    def critic_parameters(self) -> list[nn.Parameter]:
        return list(self.brightness.parameters())

    def actor_loss(self, context: Context) -> Callable[[], Tensor]:
        self.events.append("actor_loss")
        return lambda: torch.tensor(11.0)

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        self.events.append("auxiliary")
        context.sample(17)
        return {"busy/loss": torch.tensor(13.0)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"busy": torch.optim.SGD(self.other.parameters(), lr=0.1)}


class Still(Method):
    """Nothing but the defaults."""

    def __init__(self, learner: ValueLearner) -> None:
        super().__init__(None, Setup(learner, IMAGE, AugmentationOptions(8), torch.Generator(), torch.float32))


def batch_of(size: int = 2, image: tuple[int, int, int] = IMAGE) -> Batch:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 10, (2, size, *image), generator=generator, dtype=torch.uint8)
    action, reward = torch.zeros(size, 1), torch.arange(size).float()
    return Batch(Observation(pixels[0]), action, reward, torch.ones(size), Observation(pixels[1]))


def nothing(size: int) -> Batch:
    raise AssertionError(f"a further batch of {size}")


@pytest.fixture
def events() -> list[str]:
    return []


# --- order and periods ------------------------------------------------------------------------------------------------


def test_the_hooks_run_in_the_order_of_the_published_pseudocode(events: list[str]) -> None:
    learner = Toy(events)
    asked: list[int] = []
    Updater(learner, Busy(learner, events), pixel_gradient=False).update(
        batch_of(),
        lambda size: (asked.append(size), batch_of(size))[1],  # type: ignore[func-returns-value]
    )
    assert events == [
        "prepare", "observe", "observe",  # observation, next observation
        "targets", "views",
        "estimate",  # the batch's own view has been observed already
        "observe", "estimate",
        "td_loss", "td_loss", "critic_loss",
        "observe",  # once more: the critic's step has trained it
        "actor_loss", "policy_step", "update_target_networks", "auxiliary",
    ]  # fmt: skip
    assert asked == [17]


def test_policy_and_targets_have_periods_of_their_own(events: list[str]) -> None:
    learner = Toy(events, periods=(2, 3))
    updater = Updater(learner, Still(learner), pixel_gradient=False)
    due = []
    for number in range(7):
        events.clear()
        assert updater.updates == number
        metrics = updater.update(batch_of(), nothing)
        due.append(("policy_step" in events, "update_target_networks" in events, "actor/loss" in metrics))
    assert [policy for policy, _, _ in due] == [True, False, True, False, True, False, True]
    assert [target for _, target, _ in due] == [True, False, False, True, False, False, True]
    assert all(policy == told for policy, _, told in due)


def test_a_method_that_begins_late_changes_what_is_seen_and_nothing_else_until_then(events: list[str]) -> None:
    learner = Toy(events)
    method = Busy(learner, events)
    updater = Updater(learner, method, pixel_gradient=True, plain_updates=2)
    plain = updater.due()
    brightness = method.brightness.weight.item()
    for _ in range(2):
        events.clear()
        assert not updater.pixel_gradient
        assert updater.due() == plain
        metrics = updater.update(batch_of(), nothing)
        assert events == [
            "prepare", "observe", "observe", "targets", "estimate", "td_loss",
            "observe",  # the critic's step has trained it
            "policy_step", "update_target_networks",
        ]  # fmt: skip
        assert metrics.keys() == {"critic/loss", "critic/td", "critic/value", "actor/loss"}
    assert learner.policy_calls[-1][1] is None
    assert method.brightness.weight.item() != brightness
    assert updater.pixel_gradient
    assert updater.due() != plain
    events.clear()
    updater.update(batch_of(), lambda size: batch_of(size))
    assert {"views", "critic_loss", "actor_loss", "auxiliary"} <= set(events)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgqn", "sgqn+svea", "svea", "sada"])
def test_until_a_method_begins_it_is_its_random_shift(name: str) -> None:
    shift = {"shift": 2}
    late = small_agent(method=name, training={"plain_updates": 3}, **{name.partition("+")[0]: shift})
    drq = small_agent(method="drq", drq=shift)
    for agent in (late, drq):
        agent.learn(12, progress=False, evaluate_every=0)
    assert late.updates == drq.updates == 3
    learned, wanted = late.learner.state_dict(), drq.learner.state_dict()
    assert all(learned[key].equal(wanted[key]) for key in wanted)
    for agent in (late, drq):
        agent.learn(1, progress=False, evaluate_every=0)
    assert not all(tensor.equal(drq.learner.state_dict()[key]) for key, tensor in late.learner.state_dict().items())


def test_the_context_holds_what_the_update_computed(events: list[str]) -> None:
    learner = Toy(events)
    method = Busy(learner, events)
    updater = Updater(learner, method, pixel_gradient=False)
    updater.updates = 5
    updater.update(batch_of(), lambda size: batch_of(size))
    (context,) = method.contexts
    assert context.learner is learner and context.update == 5
    clean, dark = context.views
    assert (clean.weight, dark.weight) == (0.25, 0.75)
    for view, image in zip(context.views, learner.images, strict=True):
        assert view.obs.image is image  # the graph of its estimate starts there
        torch.testing.assert_close(view.estimate.values, 2.0 * 3.0 * image.mean((1, 2, 3))[None])
        assert view.estimate.values.requires_grad
    assert context.pixels is clean.obs.image and context.estimate is clean.estimate


def test_views_are_made_of_what_is_not_observed_yet_and_each_is_observed_once(events: list[str]) -> None:
    learner = Toy(events)
    method = Busy(learner, events)
    batch = batch_of()
    Updater(learner, method, pixel_gradient=False).update(batch, lambda size: batch_of(size))
    (shown,) = method.shown
    for obs, stored in ((shown.obs, batch.obs), (shown.next_obs, batch.next_obs)):
        assert obs.image.dtype == torch.float32 and torch.equal(obs.image, stored.image.float())
    clean, dark = (image.detach() for image in learner.images)
    torch.testing.assert_close(clean, 0.5 * batch.obs.image.float())
    torch.testing.assert_close(dark, 0.5 * batch.obs.image.float() / 4)


@pytest.mark.parametrize("wanted", [False, True])
def test_every_views_pixels_are_a_leaf_where_saliency_is_taken(events: list[str], wanted: bool) -> None:
    learner = Toy(events)
    contexts: list[Context] = []

    class TwoViews(Still):
        def views(self, batch: Batch) -> list[View]:
            return [View(batch.obs, 0.5), View(Observation(batch.obs.image / 2), 0.5)]

        def critic_loss(self, context: Context) -> dict[str, Tensor]:
            contexts.append(context)
            return {}

    Updater(learner, TwoViews(learner), pixel_gradient=wanted).update(batch_of(), nothing)
    for view in contexts[0].views:
        assert view.obs.image.is_leaf and view.obs.image.requires_grad == wanted


# --- after the critic's step ------------------------------------------------------------------------------------------


def test_the_fresh_estimate_is_refused_before_the_critics_step(events: list[str]) -> None:
    learner = Toy(events)

    class Early(Still):
        def critic_loss(self, context: Context) -> dict[str, Tensor]:
            return {"early": context.fresh.values.mean()}

    early = r"context\.fresh is the estimate after the critic's step, .* use context\.estimate"
    with pytest.raises(FovealError, match=early):
        Updater(learner, Early(learner), pixel_gradient=False).update(batch_of(), nothing)


def test_the_fresh_estimate_is_of_the_updated_critic_and_made_once(events: list[str]) -> None:
    learner = Toy(events)
    found: list[tuple[Tensor, Tensor, bool]] = []

    class Late(Still):
        def auxiliary(self, context: Context) -> dict[str, Tensor]:
            found.append((context.estimate.values, context.fresh.values, context.fresh is context.fresh))
            return {}

    Updater(learner, Late(learner), pixel_gradient=False).update(batch_of(), nothing)
    ((stale, fresh, once),) = found
    weights = learner.convolutions.weight * learner.projection.weight  # type: ignore[operator]
    torch.testing.assert_close(fresh, weights * batch_of().obs.image.float().mean((1, 2, 3))[None])
    assert not torch.allclose(fresh, stale) and once


def test_what_comes_after_the_critics_step_sees_through_the_trained_observe(events: list[str]) -> None:
    learner = Toy(events)
    method = Busy(learner, events)
    Updater(learner, method, pixel_gradient=False).update(batch_of(), lambda size: batch_of(size))
    (context,), brightness = method.contexts, method.brightness.weight.detach()
    assert abs(float(brightness) - 0.5) > 1e-3
    torch.testing.assert_close(context.batch.obs.image, brightness * batch_of().obs.image.float())
    assert not context.batch.obs.image.requires_grad
    clean, dark = (context.seen(number) for number in range(2))
    assert clean is context.batch.obs and dark is context.seen(1)  # once each
    torch.testing.assert_close(dark.image, brightness * context.prepared.obs.image / 4)
    torch.testing.assert_close(context.views[1].obs.image.detach(), 0.5 * context.prepared.obs.image / 4)


# --- the critic's loss ------------------------------------------------------------------------------------------------


def test_the_critics_loss_is_the_weighted_views_against_one_target_plus_the_methods_terms(events: list[str]) -> None:
    learner = Toy(events)
    batch = batch_of()
    metrics = Updater(learner, Busy(learner, events), pixel_gradient=False).update(batch, lambda size: batch_of(size))
    clean = 0.5 * batch.obs.image.float().mean((1, 2, 3))  # as observed
    dark = clean / 4  # a view is made of what is not observed yet, and observed once
    first, second = ((6.0 * x - batch.reward).square().mean() for x in (clean, dark))
    total = 0.25 * first + 0.75 * second + 2.0 * 2.0**2 + 1.0
    torch.testing.assert_close(metrics["critic/loss"], total)
    torch.testing.assert_close(metrics["critic/tidy"], torch.tensor(8.0))
    torch.testing.assert_close(metrics["critic/neat"], torch.tensor(1.0))
    torch.testing.assert_close(metrics["critic/value"], 6.0 * clean.mean())
    assert (float(metrics["actor/loss"]), float(metrics["busy/loss"])) == (7.0, 13.0)
    assert not any(value.requires_grad for value in metrics.values())
    assert len(learner.target_batches) == 1  # computed once, for both views


def test_the_critics_step_moves_the_critic_and_the_methods_critic_parameters_alone(events: list[str]) -> None:
    learner = Toy(events)
    method = Busy(learner, events)
    updater = Updater(learner, method, pixel_gradient=False)
    before = {name: p.detach().clone() for m in (learner, method) for name, p in m.named_parameters()}
    learner.policy.weight.grad = torch.tensor(3.0)
    updater.update(batch_of(), lambda size: batch_of(size))
    moved = {
        name for m in (learner, method) for name, p in m.named_parameters() if not torch.equal(p.detach(), before[name])
    }
    assert moved == {"convolutions.weight", "projection.weight", "brightness.weight"}
    assert learner.policy.weight.grad == 3.0  # it is in the graph, and gets nothing
    assert method.other.weight.grad is None


def test_gradients_do_not_pile_up_from_update_to_update(events: list[str]) -> None:
    learner = Toy(events)
    updater = Updater(learner, Still(learner), pixel_gradient=False)
    for group in updater.critic_optimizer.param_groups:
        group["lr"] = 0.0
    gradients = []
    for _ in range(2):
        updater.update(batch_of(), nothing)
        assert isinstance(learner.projection.weight.grad, Tensor)
        gradients.append(learner.projection.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def test_the_target_never_carries_a_graph(events: list[str]) -> None:
    learner = Toy(events)
    Updater(learner, Busy(learner, events), pixel_gradient=True).update(batch_of(), lambda size: batch_of(size))
    (batch,) = learner.target_batches
    assert not batch.next_obs.image.requires_grad  # though `observe` is trained
    torch.testing.assert_close(batch.next_obs.image, 0.5 * batch_of().next_obs.image.float())


# --- pixels as a leaf -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [False, True])
def test_pixels_carry_gradients_where_saliency_is_taken_and_nowhere_else(events: list[str], wanted: bool) -> None:
    learner = Toy(events)
    batch = batch_of()
    Updater(learner, Still(learner), pixel_gradient=wanted).update(batch, nothing)
    image, *_ = learner.images
    assert image.requires_grad == wanted
    assert image.is_leaf
    assert image.grad is None  # the critic's backward pass asks for the parameters' alone
    assert torch.equal(image.detach(), batch.obs.image.float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pixels_keep_their_dtype_and_get_a_float32_gradient(dtype: torch.dtype) -> None:
    image = torch.full((1, 3, 2, 2), 7.0, dtype=dtype)
    pixels = differentiable(image)
    assert pixels.is_leaf and pixels.requires_grad and pixels.dtype == dtype
    assert torch.autograd.grad(pixels.float().sum(), pixels)[0].dtype == torch.float32
    weight = torch.ones((), dtype=dtype, requires_grad=True)
    observed = differentiable(weight * image)  # through a trained ``observe``
    assert observed.dtype == torch.float32
    assert torch.autograd.grad((2 * observed).sum(), weight)[0] == 2 * 12 * 7


def test_the_policy_sees_the_observed_image_without_a_graph(events: list[str]) -> None:
    learner = Toy(events)
    method = Busy(learner, events)
    Updater(learner, method, pixel_gradient=True).update(batch_of(), lambda size: batch_of(size))
    ((obs, extra),) = learner.policy_calls
    assert not obs.image.requires_grad
    torch.testing.assert_close(obs.image, method.brightness.weight.detach() * batch_of().obs.image.float())
    assert extra is not None and float(extra()) == 11.0
    plain = Toy(events)
    Updater(plain, Still(plain), pixel_gradient=False).update(batch_of(), nothing)
    assert plain.policy_calls[0][1] is None


# --- what the policy learns from --------------------------------------------------------------------------------------


def test_the_policy_acts_on_one_view_and_is_judged_on_another(events: list[str]) -> None:
    """As SADA: acting on clean and dark pictures, both judged on the clean one, each encoded once."""
    learner = Toy(events)
    encoded: list[Tensor] = []

    def features(obs: Observation) -> Tensor:
        encoded.append(obs.image)
        return obs.image.mean((1, 2, 3))[:, None]

    learner.features = features  # type: ignore[method-assign]

    class Apart(Still):
        def policy_views(self, context: Context) -> list[PolicyView]:
            clean = context.batch.obs
            dark = clean._replace(image=clean.image / 4)
            return [PolicyView(clean, clean), PolicyView(dark, clean)]

    Updater(learner, Apart(learner), pixel_gradient=False).update(batch_of(3), nothing)
    ((obs, _),), ((found, judged),) = learner.policy_calls, learner.judgements
    clean = batch_of(3).obs.image.float()
    assert len(encoded) == 2
    assert torch.equal(obs.image, torch.cat([clean, clean / 4]))
    assert found is not None and judged is not None and judged.vector is None
    torch.testing.assert_close(found[:, 0], torch.cat([clean, clean / 4]).mean((1, 2, 3)))
    torch.testing.assert_close(judged.features[:, 0], torch.cat([clean, clean]).mean((1, 2, 3)))


def test_by_default_the_policy_is_judged_where_it_acts(events: list[str]) -> None:
    learner = Toy(events)
    Updater(learner, Still(learner), pixel_gradient=False).update(batch_of(), nothing)
    assert learner.judgements == [(None, None)]


def test_a_learner_without_a_policy_refuses_methods_that_add_to_its_loss(events: list[str]) -> None:
    class Valued(Toy):
        has_policy = False

    learner = Valued(events)
    Updater(learner, Still(learner), pixel_gradient=True).update(batch_of(), nothing)
    assert "policy_step" not in events and events.count("estimate") == 1  # nothing is computed for a policy either
    with pytest.raises(FovealError, match="Busy adds to the policy's loss, and the learner Valued has no policy"):
        Updater(learner, Busy(learner, events), pixel_gradient=False)


def test_a_learner_must_improve_the_policy_that_it_says_it_has(events: list[str]) -> None:
    class Unfinished(Toy):
        policy_step = ValueLearner.policy_step  # type: ignore[assignment]

    learner = Unfinished(events)
    with pytest.raises(FovealError, match="the learner Unfinished has no policy_step: define it, or set has_policy"):
        Updater(learner, Still(learner), pixel_gradient=False)


def test_optimizers_come_by_name(events: list[str]) -> None:
    learner = Toy(events)
    updater = Updater(learner, Busy(learner, events), pixel_gradient=False)
    optimizers = updater.optimizers()
    assert set(optimizers) == {"critic", "actor", "busy"}
    assert optimizers["critic"] is updater.critic_optimizer


# --- Adam's step, on a real learner -----------------------------------------------------------------------------------


def test_the_critics_steps_are_plain_adams(events: list[str]) -> None:
    """Fused Adam on channels-last weights, against the formula (Kingma and Ba 2015, algorithm 1), same gradients."""
    torch.manual_seed(0)
    config = SACConfig(encoder=EncoderConfig(strides=(2, 1), filters=4, projection=6), hidden=8)
    shapes = Shapes((3, 12, 12), 0, spaces.Box(-1.0, 1.0, (1,), np.float32))
    learner = SAC(config, shapes, torch.float32, torch.Generator().manual_seed(0))
    updater = Updater(learner, Still(learner), pixel_gradient=False)
    parameters: list[Any] = learner.critic_parameters()
    expected = [p.detach().double().clone() for p in parameters]
    first, second = ([torch.zeros_like(p) for p in expected] for _ in range(2))
    for step in range(1, 4):
        updater.updates = 1  # the critic alone
        updater.update(batch_of(4, (3, 12, 12)), nothing)
        for i, parameter in enumerate(parameters):
            gradient = parameter.grad.double()
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient.square()
            expected[i] -= 1e-3 * (first[i] / (1 - 0.9**step)) / ((second[i] / (1 - 0.999**step)).sqrt() + 1e-8)
    for parameter, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach().double(), value, rtol=1e-4, atol=2e-6)
