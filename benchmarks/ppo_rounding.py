"""How far bfloat16 convolutions move what PPO computes for one trained Atari agent.

    python benchmarks/ppo_rounding.py RUN

reads the newest checkpoint of ``RUN``, plays 8 games with it for 256 steps in float32, and computes the same in
bfloat16: the chosen actions' log probabilities, the values, and the gradients of one minibatch with made-up advantages
(normal) and value targets (the values plus noise of their own spread).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

import foveal
from foveal.atari.vector import AtariVector
from foveal.learners.pixel_ppo import PixelPPO
from foveal.networks.policies import ActorCritic

GAMES, STEPS, MINIBATCH, SEED = 8, 256, 256, 5


def policy_in(agent: foveal.Agent, dtype: torch.dtype) -> ActorCritic:
    """The agent's weights with convolutions in ``dtype``."""
    learner = PixelPPO(agent.config.learner_config, agent.shapes, dtype)
    learner.load_state_dict(agent.learner.state_dict())
    return learner.policy


@torch.no_grad()
def played(agent: foveal.Agent, policy: ActorCritic) -> tuple[Tensor, Tensor]:
    """(GAMES * STEPS, 4, 84, 84) observations and the actions chosen for them."""
    env, generator = AtariVector(agent.config.env, GAMES, SEED), torch.Generator().manual_seed(SEED)
    observations, actions = [torch.from_numpy(env.reset()[0])], []
    for _ in range(STEPS):
        actions.append(policy.actor.sample(policy.features(observations[-1]), generator)[0])
        observations.append(torch.from_numpy(env.step(actions[-1].numpy())[0]))
    env.close()
    return torch.cat(observations[:-1]), torch.cat(actions)


def evaluated(policy: ActorCritic, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values, log probabilities of the actions, and entropies."""
    features = policy.features(observations)
    return policy.value(features), *policy.actor.evaluate(features, actions)


@torch.no_grad()
def answers(policy: ActorCritic, observations: Tensor, actions: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Values and log probabilities, so many observations at a time."""
    parts = zip(observations.split(batch), actions.split(batch), strict=True)
    values, chosen, _ = zip(*(evaluated(policy, *part) for part in parts), strict=True)
    return torch.cat(values), torch.cat(chosen)


def gradients(
    policy: ActorCritic, observations: Tensor, actions: Tensor, advantages: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """Of PPO's loss where nothing is clipped yet."""
    policy.zero_grad()
    values, chosen, entropy = evaluated(policy, observations, actions)
    loss = -(chosen * advantages).mean() + 0.5 * (values - targets).square().mean() - 0.01 * entropy.mean()
    loss.backward()
    return {name: weight.grad.flatten() for name, weight in policy.named_parameters()}


def main(run: Path) -> None:
    """Print the differences."""
    torch.manual_seed(SEED)
    agent = foveal.load(run)
    exact, rounded = (policy_in(agent, dtype) for dtype in (torch.float32, torch.bfloat16))
    observations, actions = played(agent, exact)
    values, chosen = answers(exact, observations, actions, GAMES)
    rounded_values, rounded_chosen = answers(rounded, observations, actions, GAMES)
    again = answers(rounded, observations, actions, MINIBATCH)[1]
    print(f"log probabilities: mean |difference| {(rounded_chosen - chosen).abs().mean():.1e}")
    print(f"values: {(rounded_values - values).square().mean().sqrt() / values.std():.1e} of their spread (rms)")
    off = ((again - rounded_chosen).exp() - 1).abs().max()
    print(f"ratios before the first step, batches of {MINIBATCH} after {GAMES}: at most {off:.1e} from 1")
    targets = values + values.std() * torch.randn(len(values))
    advantages = torch.randn(len(values))

    def of(policy: ActorCritic, chosen: Tensor) -> dict[str, Tensor]:
        return gradients(policy, observations[chosen], actions[chosen], advantages[chosen], targets[chosen])

    one, other = torch.randperm(len(actions))[: 2 * MINIBATCH].chunk(2)
    true, next_to_it, found = of(exact, one), of(exact, other), of(rounded, one)
    print("gradients: distance that rounding moves one over the distance between two minibatches' exact ones:")
    for name in (name for name in true if name.endswith("weight")):
        print(f"  {name}: {(found[name] - true[name]).norm() / (next_to_it[name] - true[name]).norm():.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
