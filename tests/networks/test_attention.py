"""Attention modules against plain PyTorch, and FLS inside the encoder of pixel agents: learning, saving, explaining."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import foveal
from foveal.cli import main
from foveal.commands.train import _config, _names, _parse
from foveal.errors import FovealError
from foveal.explanation import look
from foveal.explanation.panels import reading_guide
from foveal.learners import Shapes
from foveal.learners.sac import SAC, SACConfig
from foveal.networks.attention import FLS, RegionSensitive, Rendering, SoftAttention, spatial_softmax
from foveal.networks.encoders import ConvEncoder, EncoderConfig
from foveal.networks.initialization import INITIALIZATIONS
from foveal.saliency import guided_backprop
from foveal.types import Observation
from small_env import SIZE, Counter, SavedCounter, differing, small_agent, weights

FLS_CONFIG = EncoderConfig(strides=(2, 1, 1), filters=8, projection=6, attention="fls", attention_filters=12)
SHAPE = (9, 24, 24)
COUNTER = "foveal-tests/AttentiveCounter-v0"


def shaken(network: Any) -> Any:
    """Off its initial weights, whose zeros would hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def random_features(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def images(batch: int, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, *shape), generator=generator, dtype=torch.uint8).float()


# --- modules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [1, 3])
def test_fls_is_two_convolutions_and_a_softplus(kernel: int) -> None:
    torch.manual_seed(0)
    module, features = shaken(FLS(6, hidden=10, kernel=kernel)), random_features(3, 6, 5, 7)
    first, _, second = module.layers
    hidden = F.conv2d(features, first.weight, first.bias, padding=kernel // 2).clamp(min=0)
    scores = F.conv2d(hidden, second.weight, second.bias, padding=kernel // 2)
    weighted, attention = module(features)
    assert attention.shape == (3, 1, 5, 7)
    torch.testing.assert_close(attention, torch.log(1 + scores.exp()))
    torch.testing.assert_close(weighted, features * torch.log(1 + scores.exp()))


def test_softplus_in_base_two() -> None:
    module = FLS(4, base=2)
    with torch.no_grad():
        module.layers[2].weight.zero_()
        for bias in (-3.0, 0.0, 5.0):
            module.layers[2].bias.fill_(bias)
            _, attention = module(random_features(1, 4, 3, 3))
            torch.testing.assert_close(attention, torch.full((1, 1, 3, 3), math.log2(1 + 2**bias)))


def test_the_normalised_map_is_the_same_divided_by_its_sum() -> None:
    torch.manual_seed(0)
    module, features = shaken(FLS(4)), random_features(2, 4, 5, 5)
    _, plain = module(features)
    module.normalized = True
    weighted, attention = module(features)
    torch.testing.assert_close(attention, plain / plain.sum((1, 2, 3), keepdim=True))
    torch.testing.assert_close(weighted, features * attention)


def test_soft_attention_sums_to_one() -> None:
    torch.manual_seed(0)
    module, features = shaken(SoftAttention(4, hidden=6)), random_features(2, 4, 5, 3)
    scores = module.layers[2](torch.tanh(module.layers[0](features)))
    powers = scores.exp()
    weighted, attention = module(features)
    torch.testing.assert_close(attention, powers / powers.sum((2, 3), keepdim=True))
    torch.testing.assert_close(weighted, features * attention)


def test_regions_weigh_directions() -> None:
    torch.manual_seed(0)
    module, features = shaken(RegionSensitive(4, hidden=6)), random_features(2, 4, 5, 3)
    directions = features / features.square().sum(1, keepdim=True).sqrt()
    powers = module.layers[2](F.elu(module.layers[0](directions))).exp()  # (B, 2, h, w)
    maps = powers / powers.sum((2, 3), keepdim=True)
    weighted, attention = module(features)
    torch.testing.assert_close(attention, maps[:, :1] + maps[:, 1:])
    torch.testing.assert_close(weighted, directions * maps[:, :1] + directions * maps[:, 1:])
    torch.testing.assert_close(attention.sum((1, 2, 3)), torch.full((2,), 2.0))


def test_positions_without_features_have_no_direction_and_no_gradient_that_is_no_number() -> None:
    features = torch.zeros(1, 4, 3, 3, requires_grad=True)
    weighted, _ = RegionSensitive(4)(features)
    weighted.sum().backward()
    assert features.grad is not None and features.grad.isfinite().all() and not weighted.any()


def test_the_softmax_is_over_positions_of_each_map() -> None:
    scores = torch.zeros(1, 2, 2, 2)
    scores[0, 1, 0, 1] = math.log(5)
    torch.testing.assert_close(spatial_softmax(scores)[0, 0], torch.full((2, 2), 0.25))
    torch.testing.assert_close(spatial_softmax(scores)[0, 1], torch.tensor([[1.0, 5.0], [1.0, 1.0]]) / 8)


# --- from a map to a picture ------------------------------------------------------------------------------------------


def plain_rendering(maps: np.ndarray, field: int, stride: int, padding: int, size: tuple[int, int]) -> np.ndarray:
    """Every position's value, pixel by pixel of its field."""
    picture = np.zeros((len(maps), *size))
    for n, _, y, x in np.ndindex(*maps.shape):
        for row in range(y * stride - padding, y * stride - padding + field):
            for column in range(x * stride - padding, x * stride - padding + field):
                if 0 <= row < size[0] and 0 <= column < size[1]:
                    picture[n, row, column] += maps[n, 0, y, x]
    return picture


@pytest.mark.slow
@given(
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    field=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    size=st.tuples(st.integers(3, 20), st.integers(3, 20)),
)
@settings(max_examples=60)
def test_rendering_adds_each_value_to_its_field(
    height: int, width: int, field: int, stride: int, padding: int, size: tuple[int, int]
) -> None:
    padding = min(padding, field - 1)  # with more, a field would not meet the picture
    maps = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(0))
    found = Rendering(field, stride, padding).render(maps, size)
    expected = plain_rendering(maps.numpy(), field, stride, padding, size)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_what_is_negative_is_drawn_as_nothing() -> None:
    maps = torch.tensor([[[[-1.0, 2.0]]]])
    assert Rendering(1, 1, 0).render(maps, (1, 2)).tolist() == [[[0.0, 2.0]]]


@pytest.mark.slow
@given(
    layers=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=4),
    padding=st.integers(0, 2),
    size=st.integers(16, 30),
)
@settings(max_examples=40)
def test_fields_are_where_gradients_arrive(layers: list[tuple[int, int]], padding: int, size: int) -> None:
    convolutions = [nn.Conv2d(1, 1, kernel, min(stride, kernel)) for kernel, stride in layers]  # no holes
    convolutions[0].padding = (min(padding, layers[0][0] - 1),) * 2
    for convolution in convolutions:
        nn.init.ones_(convolution.weight)
    picture = torch.ones(1, 1, size, size, requires_grad=True)
    try:
        features = nn.Sequential(*convolutions)(picture)
    except RuntimeError:  # too small for so many strides
        return
    rendering = Rendering.of(convolutions)
    _, _, height, width = features.shape
    for y, x in {(0, 0), (height // 2, width // 3), (height - 1, width - 1)}:
        (seen,) = torch.autograd.grad(features[0, 0, y, x], picture, retain_graph=True)
        one = torch.zeros(1, 1, height, width)
        one[0, 0, y, x] = 1
        assert rendering.render(one, (size, size))[0].bool().equal(seen[0, 0].bool())


# --- inside the encoder of pixel agents -------------------------------------------------------------------------------


def encoder(config: EncoderConfig = FLS_CONFIG, dtype: torch.dtype = torch.float32) -> ConvEncoder:
    torch.manual_seed(0)
    return shaken(ConvEncoder(SHAPE, config, dtype))


def test_the_map_multiplies_the_last_features_after_a_relu() -> None:
    network, obs = encoder(), images(3)
    features = network.layers(obs / 255.0).clamp(min=0)
    assert network.attend is not None
    layers = network.attend[1].layers
    attention = F.softplus(layers[2](layers[0](features).clamp(min=0)))
    torch.testing.assert_close(network(obs), (features * attention).movedim(1, -1).flatten(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.attention, attention.detach(), rtol=1e-4, atol=1e-5)
    assert network.attention is not None and not network.attention.requires_grad
    assert network.rendering == Rendering(3 + 2 * 2 + 2 * 2, 2, 0)


def test_the_published_encoder_sees_43_pixels_from_each_position() -> None:
    network = ConvEncoder((9, 84, 84), EncoderConfig(attention="fls"), torch.float32)
    assert network.rendering == Rendering(43, 2, 0)
    network(images(1, (9, 84, 84)))
    assert network.attention is not None and network.attention.shape == (1, 1, 21, 21)


@pytest.mark.bfloat16
def test_half_precision_leaves_the_map_in_full_precision() -> None:
    full, half, obs = encoder(), encoder(dtype=torch.bfloat16), images(4)
    wanted, found = full(obs), half(obs)
    assert found.dtype == torch.float32 and half.attention is not None and half.attention.dtype == torch.float32
    assert (found - wanted).norm() < 0.02 * wanted.norm()
    torch.testing.assert_close(half.attention, full.attention, rtol=0.02, atol=0.02)
    assert not found.equal(wanted)  # or it would not have been in half precision
    found.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in half.parameters())


def test_convolutions_are_channels_last_and_start_as_without_attention() -> None:
    torch.manual_seed(0)
    network = ConvEncoder(SHAPE, FLS_CONFIG, torch.float32)
    torch.manual_seed(0)
    plain = ConvEncoder(SHAPE, replace(FLS_CONFIG, attention="none"), torch.float32)
    for name, weight in plain.state_dict().items():
        assert weight.equal(network.state_dict()[name])
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in network.parameters() if p.ndim == 4)
    first = network.attend[1].layers[0].weight.flatten(1)  # type: ignore[index]
    torch.testing.assert_close(first @ first.T, 2 * torch.eye(12), rtol=0, atol=1e-4)  # gain sqrt(2), squared


def test_without_attention_nothing_is_drawn_kept_or_saved() -> None:
    config = replace(FLS_CONFIG, attention="none")
    torch.manual_seed(0)
    network = ConvEncoder(SHAPE, config, torch.float32)
    drawn = torch.get_rng_state()
    torch.manual_seed(0)
    plain = nn.Sequential(*(nn.Conv2d(c, 8, 3, stride=s) for c, s in ((9, 2), (8, 1), (8, 1))))
    plain.apply(INITIALIZATIONS[config.initialization])
    assert drawn.equal(torch.get_rng_state())
    assert sorted(network.state_dict()) == [f"layers.{i}.{part}" for i in (0, 2, 4) for part in ("bias", "weight")]
    obs = images(2)
    torch.testing.assert_close(network(obs), network.layers(obs / 255).movedim(1, -1).flatten(1), rtol=1e-4, atol=1e-5)
    assert network.attention is None and network.rendering is None


def test_unknown_attention_is_refused() -> None:
    with pytest.raises(FovealError, match=r"encoder\.attention is 'fsl': did you mean 'fls'\?"):
        foveal.Agent(Counter, preset="debug", sac={"encoder": {"attention": "fsl"}})


class FirstHead(nn.Module):
    """The first critic as a module, for captum."""

    def __init__(self, learner: SAC, action: Tensor) -> None:
        super().__init__()
        self.learner = learner
        self.action = action

    def forward(self, image: Tensor) -> Tensor:
        return self.learner.estimate(Observation(image), self.action).values[0][:, None]


@pytest.mark.filterwarnings("ignore::UserWarning:captum")
def test_guided_backpropagation_passes_through_the_module() -> None:
    torch.manual_seed(0)
    box = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    learner = shaken(SAC(SACConfig(encoder=FLS_CONFIG, hidden=16), Shapes(SHAPE, 0, box), torch.float32))
    obs, critic = images(3), FirstHead(learner, torch.rand(3, 2))
    found = guided_backprop(critic, obs)
    learner.convolutions.by_layer = True  # captum hooks into the modules
    expected = GuidedBackprop(critic).attribute(obs.clone().requires_grad_(), target=0).detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert found.any()

    learner.convolutions.by_layer = False
    attention = learner.convolutions.attend[1].layers
    with torch.no_grad():
        attention[0].weight.zero_()  # the map is the same everywhere now, and passes no gradient on
    assert not torch.allclose(guided_backprop(critic, obs), expected, rtol=1e-2, atol=1e-7)


# --- agents -----------------------------------------------------------------------------------------------------------

SMALL_FLS = {"encoder": {"attention": "fls", "attention_filters": 8}}


def frames(count: int, size: int = SIZE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (count, 9, size, size), np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sgqn", "soda", "svea"])
def test_updates_train_the_module_and_the_target_follows(method: str) -> None:
    agent = small_agent(method=method, sac=SMALL_FLS)
    before = weights(agent)
    agent.learn(16, progress=False)
    changed = set(differing(before, {k: v for k, v in weights(agent).items() if k in before}))
    for network in ("convolutions", "target_convolutions"):
        assert f"learner/{network}.attend.1.layers.0.weight" in changed
        assert f"learner/{network}.attend.1.layers.2.bias" in changed


@pytest.mark.slow
def test_saved_and_loaded_it_looks_at_the_same(tmp_path: Path) -> None:
    agent = small_agent(sac=SMALL_FLS).learn(16, progress=False)
    expected = agent.attention(frames(3))
    assert expected.shape == (3, SIZE, SIZE) and expected.dtype == np.float32 and expected.min() >= 0
    assert expected.std() > 0
    again = foveal.load(agent.save(tmp_path / "agent"), env=SavedCounter)
    np.testing.assert_array_equal(again.attention(frames(3)), expected)
    np.testing.assert_array_equal(again.attention(frames(1)[0]), agent.attention(frames(1))[0])
    small = foveal.load(agent.save(tmp_path / "small", policy_only=True), env=SavedCounter)
    np.testing.assert_allclose(small.attention(frames(3)), expected, rtol=0.02)


def test_the_map_is_drawn_where_the_encoder_looked() -> None:
    agent = small_agent(sac=SMALL_FLS, training={"precision": "float32"})
    obs = torch.from_numpy(frames(2)).float()
    encoder: Any = agent.learner.convolutions
    encoder(obs)
    field = encoder.rendering
    expected = plain_rendering(
        encoder.attention.numpy(), field.receptive_field, field.stride, field.padding, (SIZE, SIZE)
    )
    np.testing.assert_allclose(agent.attention(frames(2)), expected, rtol=1e-4)
    with torch.no_grad():  # whether or not its caller wants gradients
        np.testing.assert_allclose(agent.attention(frames(2)), expected, rtol=1e-4)


def test_a_method_that_crops_gets_its_map_in_the_middle() -> None:
    agent = small_agent(method="soda", sac=SMALL_FLS)
    size = agent.env_options["image_size"]
    margin = (size - SIZE) // 2
    inner = slice(margin, margin + SIZE)
    obs = frames(2, size)
    found = agent.attention(obs)
    assert found.shape == (2, size, size) and size > SIZE
    cropped = torch.from_numpy(obs[:, :, inner, inner].copy())
    np.testing.assert_allclose(found[:, inner, inner], agent.learner.attention(Observation(cropped)), rtol=1e-5)
    found[:, inner, inner] = 0
    assert not found.any()


def test_a_vector_beside_the_image_has_no_say() -> None:
    agent = small_agent(lambda: Counter(vector=True), sac=SMALL_FLS)
    assert agent.attention(frames(2)).shape == (2, SIZE, SIZE)


def test_agents_without_attention_say_so() -> None:
    agent = small_agent()
    assert not agent.has_attention and small_agent(sac=SMALL_FLS).has_attention
    with pytest.raises(FovealError, match=r"'conv' has no attention module inside: .* or train one with --encoder fls"):
        agent.attention(frames(1))
    with pytest.raises(FovealError, match=r"shape \(9, 36, 36\)"):
        small_agent(sac=SMALL_FLS).attention(frames(1, 20))


@pytest.mark.slow
def test_the_policy_is_exported_without_its_map(tmp_path: Path) -> None:
    agent = small_agent(sac=SMALL_FLS, training={"precision": "float32"})
    agent.attention(frames(1))  # a map is there when the policy is copied
    assert agent.export(tmp_path / "policy.onnx").stat().st_size > 0  # which compares it with PyTorch


# --- explaining -------------------------------------------------------------------------------------------------------


def test_explaining_by_the_built_in_map() -> None:
    agent = small_agent(sac=SMALL_FLS)
    (found,) = look(agent, saliency="attention", moments=3, quantile=0.9, progress=False)
    assert found.saliency == "attention"
    (compared,) = look(agent, saliency="guided_backprop", moments=3, progress=False)
    for moment, other in zip(found.moments, compared.moments, strict=True):
        assert moment.step == other.step and moment.value == pytest.approx(other.value)
        np.testing.assert_array_equal(moment.frame, other.frame)
        assert not np.array_equal(moment.strength, other.strength)
        assert moment.strength.shape == (SIZE, SIZE)
        np.testing.assert_array_equal(moment.mask, moment.strength >= np.quantile(moment.strength, 0.9))
    first = np.tile(found.moments[0].frame.transpose(2, 0, 1), (3, 1, 1))[None]  # an episode begins with equal frames
    np.testing.assert_allclose(found.moments[0].strength, agent.attention(first)[0], rtol=1e-5)


def test_the_page_tells_what_such_a_map_is() -> None:
    maps = ["attention", "gradient"]
    own, gradient = look(small_agent(sac=SMALL_FLS), saliency=maps, moments=3, progress=False)
    guide = str(reading_guide([own]))
    assert "own attention module" in guide and "change the value" not in guide
    assert "change it more" in str(reading_guide([gradient]))


def test_explaining_without_attention_is_refused_before_any_work() -> None:
    made: list[Counter] = []

    def env() -> Counter:
        made.append(Counter())
        return made[-1]

    agent = small_agent(env)
    before = len(made)
    with pytest.raises(FovealError, match=r"no attention module.*--encoder fls.*gradient, guided_backprop"):
        look(agent, saliency="attention", progress=False)
    assert len(made) == before


# --- command line -----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gymnasium.register(COUNTER, entry_point=SavedCounter)
    yield
    del gymnasium.registry[COUNTER]


def configured(*arguments: str) -> Any:
    words = [COUNTER, "--preset", "debug", *arguments]
    return _config(_parse(words, *_names(words)))


@pytest.mark.slow
def test_the_encoder_by_one_word() -> None:
    assert configured().learner_config.encoder.attention == "none"
    assert configured("--encoder", "fls") == configured("--sac.encoder.attention", "fls")
    assert configured("--encoder", "fls").learner_config.encoder.attention == "fls"
    assert configured("--encoder", "plain") == configured()
    changed = configured("--encoder", "fls", "--sac.hidden", "5", "--sac.encoder.filters", "4").learner_config
    assert (changed.hidden, changed.encoder.filters, changed.encoder.attention) == (5, 4, "fls")


def test_unknown_encoders_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", COUNTER, "--preset", "debug", "--encoder", "plane"]) == 2
    assert "unknown encoder 'plane': did you mean 'plain'?" in capsys.readouterr().err


@pytest.mark.slow
def test_train_and_explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    options = "--preset debug --encoder fls --steps 20 --training.initial-random-steps 8 --evaluate-every 0 --out run"
    assert main(["train", COUNTER, *options.split()]) == 0
    assert "attention: fls" in (tmp_path / "run" / "config.yaml").read_text()
    assert main(["explain", "run", "--on", "train", "--saliency", "attention", "--out", "page.html"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "attention module" in page
    assert "guided backpropagation" not in page
    assert (
        main(["explain", "run", "--on", "train", "--saliency", "guided_backprop", "attention", "--out", "two.html"])
        == 0
    )
    both = (tmp_path / "two.html").read_text()
    assert "own attention module" in both and "guided backpropagation" in both
    assert "guided backprop and attention" in both  # how well they agree
    assert "first head most, beside those that its own attention module marks" in both
    capsys.readouterr()
