"""Atari networks: published sizes, plain PyTorch as oracle, and as feature extractors of Stable-Baselines3."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from torch import Tensor

from foveal.atari.extractors import DAQN, RSPPO, AtariFeatures, DenseFLS, NatureFeatures, SparseFLS
from foveal.errors import FovealError
from foveal.networks.encoders import EncoderChoice, build_encoder
from foveal.networks.encoders.atari import ATARI_ENCODERS, AtariEncoder
from foveal.saliency import guided_backprop

NAMES = sorted(ATARI_ENCODERS)
SMALL = (4, 52, 52)  # Mnih's convolutions leave 3 x 3
SCREEN = spaces.Box(0, 255, (4, 84, 84), np.uint8)


def built(name: str, shape: tuple[int, int, int] = (4, 84, 84), dtype: torch.dtype = torch.float32) -> AtariEncoder:
    made = build_encoder(shape, EncoderChoice(name), dtype)
    assert isinstance(made, AtariEncoder)
    return made


def network(name: str, shape: tuple[int, int, int] = SMALL, dtype: torch.dtype = torch.float32) -> AtariEncoder:
    """Off its initial weights, whose zero biases would hide mistakes."""
    torch.manual_seed(0)
    made = built(name, shape, dtype)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return made


def pictures(batch: int, shape: tuple[int, int, int] = SMALL) -> Tensor:
    return torch.rand((batch, *shape), generator=torch.Generator().manual_seed(0))


def policy(features: type[AtariFeatures], actions: int = 4, **settings: Any) -> ActorCriticCnnPolicy:
    return ActorCriticCnnPolicy(
        SCREEN,
        spaces.Discrete(actions),
        lambda _: 1e-3,
        net_arch=[],
        features_extractor_class=features,
        features_extractor_kwargs=settings,
    )


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "published"),
    [("nature", 1_686_693), ("sparse-fls", 1_836_710), ("sparse-fls-pool", 263_846), ("dense-fls", 280_358)],
)
def test_policies_have_the_published_number_of_parameters(encoder: str, published: int) -> None:
    made = policy(AtariFeatures, encoder=encoder)
    assert sum(parameter.numel() for parameter in made.parameters()) == published


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("sparse-fls-norm", "sparse-fls"),
        ("sparse-fls-sp2", "sparse-fls"),
        ("sparse-fls-norelu", "sparse-fls"),
        ("sparse-fls-norelu-pool", "sparse-fls-pool"),
        ("dense-fls-norelu", "dense-fls"),
        ("rs-ppo-no-pad", "rs-ppo"),
    ],
)
def test_what_is_only_computed_otherwise_has_as_many_parameters(name: str, beside: str) -> None:
    sizes = [{key: weight.shape for key, weight in built(n).state_dict().items()} for n in (name, beside)]
    assert sizes[0] == sizes[1]


def test_no_name_is_missing() -> None:
    sparse = {f"sparse-fls{end}" for end in ("", "-pool", "-norm", "-1x1", "-sp2", "-norelu", "-norelu-pool")}
    others = {"nature", "dense-fls", "sparse-fls-h1", "sparse-fls-x3", "daqn", "rs-ppo", "rs-ppo-no-pad"}
    assert sparse | others | {"dense-fls-norelu"} == set(NAMES)


def test_weights_start_orthogonal_with_gain_sqrt_2() -> None:
    for name in ("sparse-fls", "daqn"):
        for key, weight in built(name).state_dict().items():
            if key.endswith("bias"):
                assert not weight.any()
                continue
            matrix = weight.flatten(1)
            matrix = matrix if len(matrix) <= matrix.shape[1] else matrix.T
            torch.testing.assert_close(matrix @ matrix.T, 2 * torch.eye(len(matrix)), rtol=0, atol=1e-4)


# --- what they compute ------------------------------------------------------------------------------------------------


def softmax(scores: Tensor) -> Tensor:
    powers = scores.exp()
    return powers / powers.sum((2, 3), keepdim=True)


def attended(name: str, x: Tensor, weight: dict[str, Tensor], prefix: str) -> tuple[Tensor, Tensor]:
    """What a module makes of features, and its map."""
    w1, b1, w2, b2 = (weight[f"{prefix}.layers.{layer}"] for layer in ("0.weight", "0.bias", "2.weight", "2.bias"))
    if name == "daqn":
        h = softmax(F.conv2d(torch.tanh(F.conv2d(x, w1, b1)), w2, b2))
        return x * h, h
    if name.startswith("rs-ppo"):
        x = x / x.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)
        h = softmax(F.conv2d(F.elu(F.conv2d(x, w1, b1)), w2, b2)).sum(1, keepdim=True)
        return x * h, h
    scores = F.conv2d(F.conv2d(x, w1, b1, padding="same").clamp(min=0), w2, b2, padding="same")
    h = torch.log2(1 + 2**scores) if name == "sparse-fls-sp2" else torch.log(1 + scores.exp())
    if name == "sparse-fls-norm":
        h = h / h.sum((2, 3), keepdim=True)
    return x * h, h


def plain(name: str, x: Tensor, weight: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Features and maps of a network, written out."""
    strides, padding = (
        ((1, 1, 1), (3, 2, 1)) if name.startswith("dense") else ((4, 2, 1), (int(name == "rs-ppo"), 0, 0))
    )
    after = {"nature": (), "sparse-fls-h1": (0,), "sparse-fls-x3": (0, 1, 2)}.get(name, (2,))
    maps = []
    for index in range(3):
        prefix = f"stages.{index}.0"
        x = F.conv2d(x, weight[f"{prefix}.weight"], weight[f"{prefix}.bias"], strides[index], padding[index])
        x = x if index == 2 and "norelu" in name else x.clamp(min=0)
        if index in after:
            x, found = attended(name, x, weight, f"attend.{index}")
            maps.append(found)
    pooled = name.endswith("pool") or name.startswith("dense") or name == "daqn"
    features = x.sum((2, 3)) if pooled else x.movedim(1, -1).flatten(1)
    return (features @ weight["linear.weight"].T + weight["linear.bias"]).clamp(min=0), maps


@pytest.mark.parametrize("name", NAMES)
def test_networks_compute_what_the_paper_says(name: str) -> None:
    shape = (4, 24, 20) if name.startswith("dense") else (4, 52, 44)  # sides that differ: no mix-up goes unseen
    made, image = network(name, shape), pictures(3, shape)
    expected, maps = plain(name, image, dict(made.state_dict()))
    found = made.features(image)
    assert found.shape == (3, made.output_size) == (3, 512) and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert expected.std() > 1e-3
    if len(maps) == 1:
        torch.testing.assert_close(made.attention, maps[0], rtol=1e-3, atol=1e-5)


def test_three_maps_become_one() -> None:
    shape = (4, 84, 84)
    made, image = network("sparse-fls-x3", shape), pictures(2, shape)
    _, (h1, h2, h3) = plain("sparse-fls-x3", image, dict(made.state_dict()))
    made.features(image)
    second = F.conv_transpose2d(h2, torch.ones(1, 1, 4, 4), stride=2)
    third = F.conv_transpose2d(h3, torch.ones(1, 1, 8, 8), stride=2)
    assert h1.shape == second.shape == third.shape == (2, 1, 20, 20)
    torch.testing.assert_close(made.attention, h1 + second + third, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_map_of_the_last_forward_pass_can_be_read(name: str) -> None:
    made = network(name)
    assert made.attention is None
    made.features(pictures(3))
    if name == "nature":
        assert made.attention is None and made.rendering is None
        return
    first = made.attention
    assert first is not None and first.shape[:2] == (3, 1) and first.dtype == torch.float32
    assert not first.requires_grad and (first >= 0).all()
    with torch.no_grad():
        made.features(pictures(5) * 0.5)
    assert made.attention is not None and made.attention.shape[0] == 5
    assert not made.attention[:3].equal(first)
    assert not any("attention" in key for key in made.state_dict())


@pytest.mark.parametrize("name", ["nature", "sparse-fls", "sparse-fls-x3", "dense-fls", "daqn", "rs-ppo"])
@pytest.mark.slow
def test_half_precision_is_of_the_convolutions_alone(name: str) -> None:
    full, half, image = network(name), network(name, dtype=torch.bfloat16), pictures(4)
    types: dict[str, torch.dtype] = {}
    for index, stage in enumerate(half.stages):
        stage.register_forward_hook(lambda m, i, o, key=f"stage {index}": types.update({key: o.dtype}))
    half.linear.register_forward_hook(lambda m, i, o: types.update({"linear": o.dtype}))
    wanted, found = full.features(image), half.features(image)
    assert types == dict.fromkeys(("stage 0", "stage 1", "stage 2"), torch.bfloat16) | {"linear": torch.float32}
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).norm() < 0.06 * wanted.norm()
    assert half.attention is None or half.attention.dtype == torch.float32
    found.sum().backward()
    assert all(p.dtype == torch.float32 and p.grad is not None and p.grad.isfinite().all() for p in half.parameters())

    half.features(image.requires_grad_())
    assert types["stage 0"] == torch.float32  # the backward pass of this one makes the pixels' gradients


def test_pixel_gradients_and_guided_ones_pass() -> None:
    made, image = network("sparse-fls"), pictures(2).requires_grad_()
    (gradient,) = torch.autograd.grad(made.features(image).sum(), image)
    guided = guided_backprop(lambda obs: made.features(obs).sum(1), image)
    assert gradient.isfinite().all() and gradient.any() and guided.any() and not guided.equal(gradient)


def test_bad_input_is_refused() -> None:
    with pytest.raises(FovealError, match=r"encoder.name is 'sparse_fls': did you mean 'sparse-fls'"):
        built("sparse_fls")
    with pytest.raises(FovealError, match="30x84 pixels is too small"):
        built("nature", (4, 30, 84))


# --- in Stable-Baselines3 ---------------------------------------------------------------------------------------------


class Noise(gymnasium.Env[Any, Any]):
    """Random screens for 12 steps."""

    observation_space = SCREEN
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = 12
        return self._screen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return self._screen(), float(action), False, self.left == 0, {}

    def _screen(self) -> np.ndarray[Any, Any]:
        return self.np_random.integers(0, 256, (4, 84, 84), np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("features", "name"),
    [(NatureFeatures, "nature"), (SparseFLS, "sparse-fls"), (DenseFLS, "dense-fls"), (DAQN, "daqn"), (RSPPO, "rs-ppo")],
)
def test_named_extractors_are_those_networks(features: type[AtariFeatures], name: str) -> None:
    torch.manual_seed(0)
    made = features(SCREEN, dtype=torch.bfloat16)  # type: ignore[call-arg]
    torch.manual_seed(0)
    expected = built(name).state_dict()
    found = made.encoder.state_dict()
    assert made.features_dim == 512 and made.encoder.dtype == torch.bfloat16
    assert found.keys() == expected.keys() and all(found[key].equal(expected[key]) for key in expected)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_actor_critics_learn_on_them(algorithm: Any) -> None:
    kwargs = {"features_extractor_class": SparseFLS, "net_arch": []}
    steps = {"n_steps": 8, "batch_size": 8, "n_epochs": 1} if algorithm is PPO else {"n_steps": 8}
    agent = algorithm("CnnPolicy", Noise(), policy_kwargs=kwargs, device="cpu", seed=0, **steps)
    before = {name: weight.clone() for name, weight in agent.policy.state_dict().items()}
    agent.learn(8)
    after = agent.policy.state_dict()
    module = "features_extractor.encoder.attend.2.layers.0.weight"
    assert not after[module].equal(before[module])
    assert all(weight.isfinite().all() for weight in after.values())
    agent.predict(np.zeros((1, 4, 84, 84), np.uint8))
    assert agent.policy.features_extractor.attention.shape == (1, 1, 7, 7)


@pytest.mark.slow
def test_the_map_is_that_of_the_pass_that_chose_the_action() -> None:
    made = policy(SparseFLS)
    calls: list[int] = []
    made.features_extractor.register_forward_hook(lambda m, i, o: calls.append(len(o)))
    screens = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made(screens)
    found = made.features_extractor.attention
    assert calls == [2]
    extractor: Any = made.features_extractor
    extractor.encoder.features(screens / 255.0)  # Stable-Baselines3 divides by 255
    torch.testing.assert_close(found, extractor.encoder.attention)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(0, 255, (84, 84, 4), np.uint8), "channels first.*VecTransposeImage"),
        (spaces.Box(0, 1, (4, 84, 84), np.float32), "want uint8 images"),
        (spaces.Box(0, 255, (84,), np.uint8), "want uint8 images"),
        (spaces.Discrete(3), "want uint8 images"),
    ],
)
def test_spaces_that_are_no_images_are_refused(space: spaces.Space[Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        SparseFLS(space)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.preprocessing", None)
    monkeypatch.delitem(sys.modules, "foveal.atari.extractors")
    with pytest.raises(FovealError, match=r'pip install "foveal\[sb3\]"'):
        importlib.import_module("foveal.atari.extractors")
