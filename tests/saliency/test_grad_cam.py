"""Grad-CAM against captum, by hand, and where there is nothing to weigh."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.saliency.grad_cam import grad_cam
from small_networks import SIDE, Small, observations


@pytest.mark.parametrize("batch", [1, 2, 6])
@pytest.mark.parametrize("target", [1, 2])
def test_it_is_captums_of_the_last_feature_maps(batch: int, target: int) -> None:
    network, obs = Small(), observations(batch)  # 6 is how many channels the last convolution has
    theirs = LayerGradCam(network, network.relus[1]).attribute(obs, target=target, relu_attributions=True)
    theirs = LayerAttribution.interpolate(theirs, (SIDE, SIDE), "bilinear").detach()
    ours = grad_cam(lambda x: network(x)[:, target], obs)
    assert ours.shape == (batch, 1, SIDE, SIDE) and float(theirs.max()) > 0
    torch.testing.assert_close(ours, theirs)


def test_it_follows_the_value_and_not_what_was_computed_last() -> None:
    """An encoder beside the one that the value depends on, and a cast weight as long as the batch, are passed over."""
    used, beside = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

    def fn(x: Tensor) -> Tensor:
        value = F.relu(used(x)).mean((1, 2, 3))
        F.conv2d(F.relu(beside(x)), beside.weight * 1.0)
        return value

    obs = observations(3)
    alone = grad_cam(lambda x: F.relu(used(x)).mean((1, 2, 3)), obs)
    torch.testing.assert_close(grad_cam(fn, obs), alone)


def test_feature_maps_of_a_function_without_modules_are_found() -> None:
    weights = torch.ones(1, 1, 3, 3)
    obs = torch.zeros(1, 1, 9, 9)
    obs[0, 0, 1, 1] = 9.0
    found = grad_cam(lambda x: F.conv2d(x, weights, padding=1).relu().sum((1, 2, 3)), obs)
    assert found[0, 0, :3, :3].min() == 9.0 and found[0, 0, 3:].max() == 0.0


def test_a_custom_functions_feature_maps_are_found() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            return 2 * grad

    obs = observations(1)
    found = grad_cam(lambda x: Double.apply(x).flatten(1).mean(1), obs)
    weight = 2 * obs.mean(1, keepdim=True) * 3 / obs[0].numel()
    torch.testing.assert_close(found, weight)


def test_without_feature_maps_it_says_what_to_choose() -> None:
    layer = nn.Linear(3 * SIDE * SIDE, 1)
    with pytest.raises(FovealError, match=r"needs feature maps.*choose a map that needs none"):
        grad_cam(lambda x: layer(x.flatten(1)), observations())
