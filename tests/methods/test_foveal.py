"""foveal: a policy behind its fovea."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import foveal
from foveal.augmentations import AugmentationOptions
from foveal.errors import FovealError
from foveal.evaluation.insides import insides_of
from foveal.fovea.frames import FrameSet
from foveal.methods import METHODS, Setup
from foveal.methods.foveal import Foveal, FovealConfig
from foveal.shield import Shielded
from small_env import SIZE, Ignorant, SavedCounter, small_agent, weights
from small_shield import Inverter, pictures
from small_updates import batch_for


class Looking:
    """Gives the same frames to everybody, and notes what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool]] = []

    def __call__(self, count: int, *, with_masks: bool) -> FrameSet:
        self.asked.append((count, with_masks))
        masks = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
        masks[:, :8, :8] = True
        return FrameSet(torch.from_numpy(pictures(count, 3, SIZE, SIZE)), masks, torch.arange(count))


@pytest.mark.slow
def test_it_learns_to_see_once_and_for_all() -> None:
    agent, look = small_agent(method="foveal"), Looking()
    before = {name: tensor.clone() for name, tensor in agent.method.state_dict().items()}
    learner = {name: tensor.clone() for name, tensor in agent.learner.state_dict().items()}
    agent.method.look_around(look, visible=False)
    assert look.asked == [(60, True)]
    after = agent.method.state_dict()
    assert not after["fovea.network.draw.weight"].equal(before["fovea.network.draw.weight"]) and after["learned"]
    assert all(tensor.equal(learner[name]) for name, tensor in agent.learner.state_dict().items())
    assert not agent.method.fovea.training  # type: ignore[union-attr]
    agent.method.look_around(look, visible=False)
    assert len(look.asked) == 1
    assert not any(parameter.requires_grad for parameter in agent.method.parameters())


def test_looking_around_leaves_pytorchs_own_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    agent = small_agent(method="foveal")
    torch.manual_seed(5)
    agent.method.look_around(Looking(), visible=False)
    assert torch.rand(3).equal(expected)


@pytest.mark.slow
def test_replay_holds_what_was_perceived() -> None:
    agent = small_agent(method="foveal")
    agent.method.look_around(Looking(), visible=False)
    draw: Any = agent.method.fovea.network.draw  # type: ignore[union-attr]
    with torch.no_grad():
        draw.weight[4] = 0.0
        draw.bias[4] = -100.0  # nothing is the task's
    agent.learn(30, progress=False)  # three episodes
    assert agent.replay is not None
    batch = agent.replay.sample(64)
    assert batch.obs.image.max() == batch.next_obs.image.max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("vector", [False, True])
def test_it_learns_beside_a_vector_too(vector: bool) -> None:
    agent = small_agent(lambda: SavedCounter(vector=vector), method="foveal")
    agent.learn(14, progress=False)
    assert agent.updates == 5


@pytest.mark.slow
def test_its_updates_never_touch_the_fovea() -> None:
    agent = small_agent(method="foveal").learn(12, progress=False)
    before = {name: tensor.clone() for name, tensor in agent.method.fovea.state_dict().items()}  # type: ignore[union-attr]
    agent.updater.update(batch_for(agent), lambda size: batch_for(agent, size))
    after = agent.method.fovea.state_dict()  # type: ignore[union-attr]
    assert all(tensor.equal(after[name]) for name, tensor in before.items())


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_with_the_same_eyes(tmp_path: Path) -> None:
    whole = small_agent(method="foveal")
    whole.learn(24, run=tmp_path / "whole", progress=False, checkpoint_every=12, evaluate_every=0)
    small_agent(method="foveal").learn(12, run=tmp_path / "cut", progress=False, checkpoint_every=12, evaluate_every=0)
    trainer = foveal.resume(tmp_path / "cut", env=SavedCounter, progress=False)
    trainer.train(12)
    mine, theirs = weights(trainer.work.agent), weights(whole)  # type: ignore[arg-type]
    assert all(mine[name].equal(theirs[name]) for name in theirs)


def test_what_it_takes_for_the_task_is_a_map() -> None:
    agent = small_agent(method="foveal")
    image = torch.rand(2, *agent.shapes.image) * 255
    found = agent.method.maps()["fovea"](image)
    assert found.shape == (2, SIZE, SIZE) and float(found.min()) >= 0 and float(found.max()) <= 1
    assert found.equal(agent.method.maps()["fovea"](torch.cat([torch.zeros_like(image[:, :3]), image[:, 3:]], 1)))


@pytest.mark.parametrize("vector", [False, True])
def test_what_it_lets_through_is_shown_beside_the_frame(vector: bool) -> None:
    agent = small_agent(lambda: SavedCounter(vector=vector), method="foveal")
    image = pictures(1, *agent.shapes.image)[0]
    seen = {"image": image, "vector": np.zeros(3, np.float32)} if vector else image
    view = insides_of(agent).views["perceived"]
    shown = view.draw(seen)
    assert view.beneath and shown.dtype == np.uint8
    assert np.array_equal(shown, agent.perceive(torch.from_numpy(image)[None])[0, -3:].permute(1, 2, 0).numpy())
    assert not np.array_equal(shown, image[-3:].transpose(1, 2, 0))
    shielded = insides_of(Shielded(Inverter(), agent)).views["perceived"]
    assert np.array_equal(shielded.draw(image), view.draw(255 - image))  # of what it is given
    assert insides_of(small_agent()).views == {}


def test_values_have_gradients_back_to_the_pixels_that_came_in() -> None:
    agent = small_agent(method="foveal", foveal={"output": "restored"})
    image = (torch.rand(2, *agent.shapes.image) * 255).requires_grad_()
    agent.values(image, torch.zeros(2, 2)).sum().backward()
    assert image.grad is not None and image.grad.abs().max() > 0


@pytest.mark.slow
def test_joined_to_others_it_stands_before_all_that_they_do() -> None:
    agent = small_agent(method="foveal+sgqn")
    agent.learn(14, progress=False)
    assert agent.updates == 5 and not agent.method.sees_all
    assert "fovea" in agent.method.maps()


def test_grey_frames_are_refused() -> None:
    agent = small_agent()
    options = AugmentationOptions.__new__(AugmentationOptions)
    object.__setattr__(options, "channels", 1)
    setup = Setup(agent.learner, (2, SIZE, SIZE), options, agent.generator, torch.float32)  # type: ignore[arg-type]
    with pytest.raises(FovealError, match="these frames are grey"):
        Foveal(FovealConfig(), setup)


def test_an_environment_that_knows_no_masks_is_refused_before_anything_happens() -> None:
    agent = small_agent(Ignorant, method="foveal")
    with pytest.raises(FovealError, match="which pixels are the agent's"):
        agent.learn(12, progress=False)
    assert agent.steps == 0


# --- perceiving -------------------------------------------------------------------------------------------------------


def test_frames_that_are_known_are_not_worked_on_again(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = small_agent(method="foveal")
    worked: list[int] = []
    real = agent.method.perceive

    def counted(image: Tensor) -> Tensor:
        worked.append(image.shape[0] * image.shape[1] // 3)
        return real(image)

    monkeypatch.setattr(agent.method, "perceive", counted)
    stack = pictures(1, *agent.shapes.image)[0]
    agent.predict(stack)
    agent.predict(np.concatenate([stack[3:], pictures(1, 3, SIZE, SIZE, seed=4)[0]]))
    assert worked == [agent.shapes.image[0] // 3, 1]
    with torch.no_grad():
        agent.method.fovea.network.draw.bias += 0.1  # type: ignore[union-attr, operator]
    agent.predict(stack)
    assert worked[2:] == [agent.shapes.image[0] // 3]  # nothing that was known is true any more


def test_what_others_learn_makes_nobody_forget_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = small_agent(method="foveal+sgqn")
    stack = pictures(1, *agent.shapes.image)[0]
    agent.predict(stack)
    with torch.no_grad():
        for parameter in agent.method.parts["sgqn"].parameters():  # type: ignore[union-attr, operator, index]
            parameter += 1.0
    monkeypatch.setattr(agent.method, "perceive", lambda image: pytest.fail("these frames are known"))
    agent.predict(stack)


def test_perceiving_is_the_methods_frame_by_frame() -> None:
    agent = small_agent(method="foveal")
    images = torch.from_numpy(pictures(3, *agent.shapes.image))
    with torch.no_grad():
        expected = agent.method.perceive(images.float())
    for _ in range(2):
        assert agent.perceive(images).equal(expected.to(torch.uint8))
        assert agent.perceive(images.float()).equal(expected)
    plain: Any = small_agent()
    assert plain.perceive(images) is images


@pytest.mark.slow
def test_every_method_says_whether_it_sees_all() -> None:
    assert [name for name in METHODS.names() if not small_agent(method=name).method.sees_all] == ["foveal"]
