"""The network that gives frames back, and what is done with its answers."""

from __future__ import annotations

import pytest
import torch

from foveal.fovea.network import FoveaNetwork, Output, folded
from foveal.fovea.restoring import Restoring


@pytest.mark.parametrize("size", [36, 37, 84])
def test_frames_of_any_size_come_back_in_their_size(size: int) -> None:
    output = FoveaNetwork(4, 2)(torch.rand(2, 3, size, size))
    assert output.restored.shape == (2, 3, size, size)
    assert output.mask.shape == (2, 1, size, size)
    assert output.change.shape == (2,)
    assert output.restored.min() >= 0 and output.restored.max() <= 1


def test_the_blend_can_pass_a_frame_on_to_the_last_bit() -> None:
    network, seen = FoveaNetwork(4, 1), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        network.draw.weight.zero_()
        network.draw.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -100.0, 0.0]))
    assert network(seen).restored.equal(seen)


def test_the_estimate_of_change_has_no_say_in_how_frames_are_restored() -> None:
    network = FoveaNetwork(4, 1)
    network(torch.rand(2, 3, 16, 16)).change.sum().backward()
    moved = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert moved and all(name.startswith("change") for name in moved)


def test_normalisation_can_be_part_of_the_convolutions() -> None:
    network = FoveaNetwork(4, 2)
    for _ in range(3):
        network(torch.rand(4, 3, 36, 36))  # so that there is something to normalise by
    seen, quick = torch.rand(2, 3, 36, 36), folded(network)
    for mine, theirs in zip(quick(seen), network.eval()(seen), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in quick.modules())


class Brighter(torch.nn.Module):
    """Says that frames were changed by their first pixel, and makes them brighter by the second one's half."""

    def forward(self, frames: torch.Tensor) -> Output:
        """(B, 3, H, W)."""
        first, second = frames[:, 0, 0, 0], frames[:, 0, 0, 1] / 2
        restored = frames + second[:, None, None, None]
        restored[:, 0, 0] = frames[:, 0, 0]
        return Output(restored, frames[:, :1] - 0.5, first.log())


def at_work(output: str) -> Restoring:
    restoring = Restoring(FoveaNetwork(4, 1), output)
    restoring.network = Brighter()  # type: ignore[assignment]
    return restoring


def test_frames_that_look_as_trained_are_let_through_and_others_restored_and_doubted() -> None:
    pixels = torch.full((3, 3, 8, 8), 40, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.tensor([0, 2, 0], dtype=torch.uint8)  # said to be changed by so many levels
    pixels[:, 0, 0, 1] = torch.tensor([4, 4, 20], dtype=torch.uint8)  # would be made brighter by half of that
    given, masks, doubt = at_work("restored")(pixels)
    assert given[0].equal(pixels[0].float())  # neither says that it was changed
    assert given[1, 1].eq(42).all() and given[1, 0, 0].equal(pixels[1, 0, 0].float())
    assert given[2, 1].eq(50).all()
    share = 1 - 8 / (3 * 64)  # the first row of the first colour stays
    likely = torch.sigmoid(pixels[:, 0] / 255 - 0.5)
    unsure = (4 * likely * (1 - likely)).mean((1, 2))
    torch.testing.assert_close(doubt, 100 * (unsure * share * torch.tensor([2.0, 2.0, 10.0]) / 255).sqrt())
    assert masks.shape == (3, 8, 8)
    masked, _, again = at_work("masked")(pixels)
    assert masked.max() == 0 and again.equal(doubt)


def test_the_foreground_is_both() -> None:
    pixels = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    pixels[:, 0, :, 4:] = 200  # the task's own: more than half in the first colour
    pixels[:, 0, 0, :2] = torch.tensor([2, 20], dtype=torch.uint8)
    restored, foreground = (at_work(output)(pixels)[0] for output in ("restored", "foreground"))
    assert foreground[..., :4].eq(0).all() and foreground[..., 4:].equal(restored[..., 4:])
    assert not restored.equal(pixels.float())


def test_gradients_pass_through_rounding() -> None:
    pixels = torch.rand(2, 3, 16, 16).mul(255).requires_grad_()
    for output in ("restored", "masked", "foreground"):
        Restoring(FoveaNetwork(4, 1), output)(pixels)[0].sum().backward()
    assert pixels.grad is not None and pixels.grad.abs().sum() > 0
