"""Every setting of the learner and its encoder changes what it names. A new setting needs a line in a table."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import foveal
from foveal.config.presets import PRESETS
from foveal.config.tree import configure
from foveal.learners.sac import SAC, SACConfig
from foveal.networks.encoders import ENCODERS, ConvEncoder, EncoderConfig
from foveal.networks.heads import mlp
from foveal.types import Batch, Observation
from small_env import SavedCounter, small_agent
from wires import Room, Wire, assert_complete, cases

ROOT_2 = math.sqrt(2.0)


def agent_with(**sac: Any) -> foveal.Agent:
    """Plain SAC of the debug preset, with some settings of the learner."""
    return small_agent(SavedCounter, method="none", training={"precision": "float32"}, sac=sac)


def batch_for(agent: foveal.Agent, size: int = 8, seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, size, *agent.shapes.image), generator=draws, dtype=torch.uint8)
    action = torch.rand(size, agent.learner.action_size, generator=draws) * 2 - 1
    reward = torch.rand(size, generator=draws)
    return Batch(Observation(images[0]), action, reward, torch.full((size,), 0.9), Observation(images[1]))


def update(agent: foveal.Agent, times: int = 1) -> dict[str, Tensor]:
    metrics: dict[str, Tensor] = {}
    for _ in range(times):
        metrics |= agent.updater.update(batch_for(agent), lambda size: batch_for(agent, size))
    return metrics


def kept(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])


def step_size(part: str) -> Any:
    """The largest change of a weight by Adam's first step, which is the learning rate."""

    def observe(room: Room, value: float) -> Any:
        agent = agent_with(**{part_of[part]: value})
        learner: Any = agent.learner
        network = nn.ParameterList([learner.log_alpha]) if part == "log_alpha" else getattr(learner, part)
        before = kept(network)
        update(agent)
        return pytest.approx(float((kept(network) - before).abs().max()), rel=5e-3)  # alpha is of little precision

    return observe


part_of = {"critics": "critic_lr", "convolutions": "critic_lr", "policy": "actor_lr", "log_alpha": "alpha_lr"}


def alpha_beta1(room: Room, value: float) -> Any:
    """From the first moment after one step: (1 - beta1) g."""
    agent = agent_with(alpha_beta1=value)
    update(agent)
    learner: Any = agent.learner
    first = agent.learner.optimizers()["alpha"].state[learner.log_alpha]["exp_avg"]
    return pytest.approx(1.0 - float(first / learner.log_alpha.grad), abs=1e-5)


def initial_temperature(room: Room, value: float) -> Any:
    return pytest.approx(float(agent_with(initial_temperature=value).learner.log_alpha.detach().exp()))  # type: ignore[operator]


def target_entropy(room: Room, value: float) -> Any:
    """From the temperature's gradient, alpha (entropy - target), per dimension of the action."""
    agent = agent_with(target_entropy=value)
    learner: Any = agent.learner
    alpha = float(learner.log_alpha.detach().exp())
    metrics = update(agent)
    wanted = float(metrics["actor/entropy"]) - float(learner.log_alpha.grad) / alpha
    return pytest.approx(wanted / learner.action_size, abs=1e-4)


def share_taken(setting: str, *parts: str) -> Any:
    """By which share of the way each target network moved towards the trained one."""

    def observe(room: Room, value: float) -> Any:
        agent = agent_with(**{setting: value})
        learner = agent.learner
        before = {part: kept(getattr(learner, f"target_{part}")) for part in parts}
        update(agent)
        shares = []
        for part in parts:
            way = kept(getattr(learner, part)) - before[part]
            moved = kept(getattr(learner, f"target_{part}")) - before[part]
            shares.append(float((way * moved).sum() / way.square().sum()))
        return pytest.approx(max(shares, key=lambda share: abs(share - value)), abs=1e-4)

    return observe


def moved_at(setting: str, *parts: str) -> Any:
    """Numbers of the updates at which something of these parts moved; all of them must move together."""

    def observe(room: Room, value: int) -> list[int]:
        agent = agent_with(**{setting: value})
        found = []
        for number in range(5):
            before = {part: kept(getattr(agent.learner, part)) for part in parts}
            update(agent)
            moved = {part: not torch.equal(kept(getattr(agent.learner, part)), before[part]) for part in parts}
            assert len(set(moved.values())) == 1, moved
            found += [number] if any(moved.values()) else []
        return found

    return observe


def log_std(bound: str) -> Any:
    """The log standard deviation of a policy that is as sure, or as unsure, as it can be."""

    def observe(room: Room, value: float) -> Any:
        agent = agent_with(**{bound: value})
        learner: Any = agent.learner
        with torch.no_grad():
            learner.policy[-1].bias[learner.action_size :] = 1e3 if bound == "log_std_max" else -1e3
        _, spread = learner._gaussian(learner.features(batch_for(agent).obs.float()), None)
        return pytest.approx(float(spread.detach().mean()), abs=1e-4)

    return observe


def widths(room: Room, value: int) -> set[int]:
    learner: Any = agent_with(hidden=value).learner
    networks = [learner.policy, *learner.critics.heads, *learner.target_critics.heads]
    return {size for network in networks for size in (network[0].out_features, network[2].out_features)}


EVERY = {period: list(range(0, 5, period)) for period in (1, 2, 3)}
SAC_WIRES = {
    "encoder": Wire(
        {"filters": 3},
        {"filters": 5},
        observe=lambda _, v: {"filters": agent_with(encoder=v).learner.convolutions.output_shape[0]},
    ),
    "hidden": Wire(16, 9, observe=widths, expected=lambda value: {value}),
    "critic_lr": Wire(1e-3, 1e-2, observe=step_size("critics")),
    "actor_lr": Wire(1e-3, 1e-2, observe=step_size("policy")),
    "alpha_lr": Wire(1e-4, 1e-3, observe=step_size("log_alpha")),
    "alpha_beta1": Wire(0.5, 0.9, observe=alpha_beta1),
    "initial_temperature": Wire(0.1, 0.7, observe=initial_temperature),
    "target_entropy": Wire(-1.0, -0.25, observe=target_entropy),
    "critic_tau": Wire(0.01, 0.2, observe=share_taken("critic_tau", "critics")),
    "encoder_tau": Wire(0.05, 0.3, observe=share_taken("encoder_tau", "convolutions", "projection")),
    "actor_period": Wire(
        1, 2, 3, observe=moved_at("actor_period", "policy", "actor_projection"), expected=lambda v: EVERY[v]
    ),
    "target_period": Wire(
        1,
        2,
        3,
        observe=moved_at("target_period", "target_critics", "target_convolutions", "target_projection"),
        expected=lambda v: EVERY[v],
    ),
    "log_std_min": Wire(-10.0, -3.0, observe=log_std("log_std_min")),
    "log_std_max": Wire(2.0, 0.5, observe=log_std("log_std_max")),
}


def test_no_setting_of_the_learner_is_forgotten() -> None:
    assert_complete(SACConfig, SAC_WIRES)


@pytest.mark.slow
@cases(SAC_WIRES)
def test_settings_of_the_learner_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


def test_the_encoder_learns_at_the_critics_rate() -> None:
    assert step_size("convolutions")(None, 3e-3) == 3e-3


# --- the encoder ------------------------------------------------------------------------------------------------------


def encoders(**encoder: Any) -> list[Any]:
    """The trained convolutions and their target."""
    learner: Any = agent_with(encoder=encoder).learner
    return [learner.convolutions, learner.target_convolutions]


def kernels(encoder: Any) -> list[nn.Conv2d]:
    return [layer for layer in encoder.layers if isinstance(layer, nn.Conv2d)]


def of_kernels(setting: str, read: Any) -> Any:
    def observe(room: Room, value: Any) -> set[Any]:
        return {read(kernels(encoder)) for encoder in encoders(**{setting: value})}

    return observe


def initialization(room: Room, value: str) -> set[str]:
    return {started(layer.weight) for layer in kernels(encoders(initialization=value)[0])}


def started(weight: Tensor) -> str:
    """Which of the two initial distributions a kernel is from, by its singular values."""
    centre = weight.shape[-1] // 2
    rest = weight.detach().clone()
    rest[:, :, centre, centre] = 0.0
    matrix = weight.detach().flatten(1) if rest.any() else weight.detach()[:, :, centre, centre]
    torch.testing.assert_close(torch.linalg.svdvals(matrix), torch.full((min(matrix.shape),), ROOT_2))
    return "orthogonal" if rest.any() else "delta-orthogonal"


def projection(room: Room, value: int) -> set[int]:
    learner: Any = agent_with(encoder={"projection": value}).learner
    parts = [learner.projection, learner.target_projection, learner.actor_projection]
    return {part.linear.out_features for part in parts} | {learner.latent_size}


def centred(room: Room, value: bool) -> bool:
    """Whether middle grey gives nothing at all."""
    encoder, target = encoders(centred=value)
    grey = torch.full((1, *encoder.image_shape), 127.5)
    assert torch.equal(encoder(grey), target(grey))
    return bool(encoder(grey).abs().max() < 1e-4)


def last_relu(room: Room, value: bool) -> bool:
    """Whether no feature is negative."""
    encoder, target = encoders(last_relu=value, initialization="orthogonal")
    noise = torch.rand(4, *encoder.image_shape, generator=torch.Generator().manual_seed(0)) * 255
    assert torch.equal(encoder(noise), target(noise))
    return bool((encoder(noise) >= 0).all())


@ENCODERS.register("upside_down")
class UpsideDown(ConvEncoder):
    """A second encoder, to choose by name."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.flip(2))


ENCODER_WIRES = {
    "name": Wire(
        "conv",
        "upside_down",
        observe=lambda _, v: {type(encoder) for encoder in encoders(name=v)},
        expected=lambda v: {ENCODERS.get(v)},
    ),
    "strides": Wire(
        (2, 2, 1),
        (2, 1),
        observe=of_kernels("strides", lambda k: tuple(layer.stride[0] for layer in k)),
        expected=lambda v: {v},
    ),
    "filters": Wire(
        8,
        5,
        observe=of_kernels("filters", lambda k: tuple({layer.out_channels for layer in k})),
        expected=lambda v: {(v,)},
    ),
    "first_kernel": Wire(
        3, 5, observe=of_kernels("first_kernel", lambda k: k[0].kernel_size), expected=lambda v: {(v, v)}
    ),
    "kernel": Wire(
        3,
        2,
        observe=of_kernels("kernel", lambda k: {layer.kernel_size[0] for layer in k[1:]}.pop()),
        expected=lambda v: {v},
    ),
    "initialization": Wire("delta-orthogonal", "orthogonal", observe=initialization, expected=lambda v: {v}),
    "projection": Wire(8, 6, observe=projection, expected=lambda v: {v}),
    "centred": Wire(False, True, observe=centred),
    "last_relu": Wire(False, True, observe=last_relu),
    "attention": Wire(
        "none",
        "fls",
        observe=lambda _, v: agent_with(encoder={"attention": v}).has_attention,
        expected=lambda v: v == "fls",
    ),
    "attention_filters": Wire(
        256,
        12,
        observe=lambda _, v: {
            layer.out_channels
            for layer in encoders(attention="fls", attention_filters=v)[0].attend.modules()
            if isinstance(layer, nn.Conv2d)
        },
        expected=lambda v: {v, 1},
    ),
}


def test_no_setting_of_the_encoder_is_forgotten() -> None:
    assert_complete(EncoderConfig, ENCODER_WIRES)


@pytest.mark.slow
@cases(ENCODER_WIRES)
def test_settings_of_the_encoder_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- how weights start ------------------------------------------------------------------------------------------------


def assert_orthogonal(weight: Tensor) -> None:
    torch.testing.assert_close(torch.linalg.svdvals(weight.detach()), torch.ones(min(weight.shape)))


@pytest.mark.parametrize("preset", ["compact", "debug"])
def test_every_network_of_a_fresh_agent_starts_as_published(preset: str) -> None:
    assert set(PRESETS) == {"paper", "compact", "debug"}
    agent = small_agent(SavedCounter, method="none", preset=preset, training={"precision": "float32"})
    learner: Any = agent.learner
    named = configure("MyEnv-v0", "none", "sac", preset).learner_config.encoder.initialization
    assert {started(layer.weight) for layer in kernels(learner.convolutions)} == {named}
    for part in (learner.projection, learner.actor_projection, learner.policy, *learner.critics.heads):
        linear = [layer for layer in part.modules() if isinstance(layer, nn.Linear)]
        assert linear
        for layer in linear:
            assert_orthogonal(layer.weight)
    assert all(not layer.bias.any() for layer in learner.modules() if isinstance(layer, nn.Linear | nn.Conv2d))
    first, second = learner.critics.heads
    assert not torch.equal(first[0].weight, second[0].weight)
    assert not torch.equal(learner.projection.linear.weight, learner.actor_projection.linear.weight)
    for part in ("convolutions", "projection", "critics"):
        assert torch.equal(kept(getattr(learner, part)), kept(getattr(learner, f"target_{part}")))


def test_a_perceptron_starts_orthogonal() -> None:
    for layer in mlp(7, 5, 3):
        if isinstance(layer, nn.Linear):
            assert_orthogonal(layer.weight)


# --- the policy's samples ---------------------------------------------------------------------------------------------


def certain(learner: SAC, mean: float, log_std_bias: float) -> None:
    """Let the policy ignore what it sees."""
    with torch.no_grad():
        learner.policy[-1].weight.zero_()  # type: ignore[union-attr]
        learner.policy[-1].bias.copy_(torch.tensor([mean] * 2 + [log_std_bias] * 2))  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("acting", [True, False], ids=["acting", "learning"])
def test_samples_have_the_standard_deviation_that_they_say(acting: bool) -> None:
    agent = agent_with(log_std_min=-5.0, log_std_max=1.0)
    learner: Any = agent.learner
    certain(learner, 0.3, 0.4)
    obs = batch_for(agent, 2000).obs.float()
    features = learner.features(obs).detach()
    drawn = learner.act(obs, False, agent.acting_generator) if acting else learner._sample(features, None)[0].detach()
    raw = torch.atanh(drawn.double())
    std = math.exp(float(learner._gaussian(features, None)[1].detach().mean()))
    assert std == pytest.approx(math.exp(-5.0 + 3.0 * (math.tanh(0.4) + 1.0)), rel=1e-4)
    # 4000 draws: the standard error of their mean is std / 63, of their standard deviation std / 89.
    assert float(raw.mean()) == pytest.approx(0.3, abs=4 * std / 63)
    assert float(raw.std()) == pytest.approx(std, abs=4 * std / 89)
    kurtosis = float(((raw - 0.3) / std).pow(4).mean())
    assert kurtosis == pytest.approx(3.0, abs=4 * math.sqrt(96 / 4000))  # a Gaussian's
    assert abs(float(torch.corrcoef(raw.T)[0, 1])) < 4 / math.sqrt(2000)
