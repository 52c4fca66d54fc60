"""Learning to give frames back."""

from __future__ import annotations

import torch

from foveal.fovea.config import FoveaConfig
from foveal.fovea.learning import losses
from foveal.fovea.network import Output


def test_the_losses_are_what_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    restored, pixels = torch.rand(2, 2, 3, 4, 4, generator=generator)
    shown = torch.rand(2, 3, 4, 4, generator=generator)
    logits, change = torch.randn(2, 1, 4, 4, generator=generator), torch.randn(2, generator=generator)
    masks = torch.rand(2, 4, 4, generator=generator) < 0.3
    config = FoveaConfig(task_weight=0.5, mask_weight=0.1, change_weight=0.05)
    total, parts = losses(Output(restored, logits, change), shown, pixels, masks, config)
    errors = [(restored[i] - pixels[i]).abs() for i in range(2)]
    whole = torch.stack([error.mean() for error in errors])
    on_task = torch.cat([errors[i][:, masks[i]].mean(0) for i in range(2)]).mean()
    share = torch.sigmoid(logits[:, 0])
    entropy = -torch.where(masks, share.log(), (1 - share).log()).mean()
    came = torch.stack([(shown[i] - pixels[i]).abs().mean() for i in range(2)])
    wrong = (change - came.log()).square().mean()
    torch.testing.assert_close(parts["error"], whole.mean())
    torch.testing.assert_close(parts["error_on_task"], on_task)
    torch.testing.assert_close(parts["mask"], entropy)
    torch.testing.assert_close(parts["change"], wrong)
    torch.testing.assert_close(total, whole.mean() + 0.5 * on_task + 0.1 * entropy + 0.05 * wrong)
