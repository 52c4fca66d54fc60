"""Saliency maps against captum and plain autograd, masks against NumPy's quantile, and no side effects."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.networks.encoders import ConvEncoder, EncoderConfig, Projection
from foveal.networks.heads import TwinCritic
from foveal.saliency import SALIENCY, gradient, guided_backprop, needs_gradient, pixel_gradient, quantile_mask

# captum says for every call that it sets hooks and for integer inputs; neither concerns the values compared here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")

SIDE = 48  # the smallest round size that survives eleven convolutions without padding


def observations(batch: int = 3, side: int = SIDE, seed: int = 1) -> Tensor:
    return torch.randint(0, 256, (batch, 9, side, side), generator=torch.Generator().manual_seed(seed)).float()


class Critic(nn.Module):
    """The paper's critic, spelled out: 11 convolutions, projection, and one MLP a head on latent and action."""

    def __init__(self, heads: int = 1, side: int = SIDE, actions: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(9, 32, 3, stride=2)]
        for _ in range(10):
            layers += [nn.ReLU(), nn.Conv2d(32, 32, 3)]
        side = (side - 3) // 2 + 1 - 20
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.projection = nn.Sequential(nn.Linear(32 * side * side, 100), nn.LayerNorm(100), nn.Tanh())
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(100 + actions, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
            for _ in range(heads)
        )
        for module in self.modules():  # orthogonal, as in the paper: eleven default layers would leave no gradient
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(module.weight, gain=2**0.5)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """(B, heads)."""
        latent = self.projection(self.convolutions(obs / 255.0))
        return torch.cat([head(torch.cat([latent, action], dim=1)) for head in self.heads], dim=1)


class Foreign(nn.Module):
    """Someone else's network: every spelling of a ReLU, one tensor through two branches, other activations between."""

    def __init__(self, relu: Callable[[int, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(9, 8, 3), nn.Conv2d(8, 24, 3), nn.Conv2d(24, 24, 3, padding=1)
        self.norm, self.out = nn.BatchNorm2d(24), nn.Linear(24, 5)
        self.inplace = nn.ReLU(inplace=True)
        self.twins = nn.ModuleList(nn.ReLU() for _ in range(4))
        self.relu = relu or self.any_spelling

    def any_spelling(self, place: int, x: Tensor) -> Tensor:
        spellings: tuple[Callable[[Tensor], Tensor], ...] = (F.relu, self.inplace, torch.relu, torch.relu_)
        return spellings[place](x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(0, self.first(x / 255.0))
        x = self.relu(1, self.norm(self.second(x)))
        x = x + torch.tanh(x) * self.relu(2, self.third(x))
        x = F.layer_norm(F.gelu(x).mean(dim=(2, 3)), (24,))
        return self.out(self.relu(3, x * 1.0))

    def twin(self) -> Foreign:
        """The same function with a module for every ReLU, which is what captum understands."""
        other = copy.deepcopy(self)
        other.relu = lambda place, x: other.twins[place](x)
        return other


@pytest.fixture
def critic() -> Critic:
    torch.manual_seed(0)
    return Critic(heads=2)


@pytest.fixture
def foreign() -> Foreign:
    torch.manual_seed(0)
    return Foreign().eval()


def captum_map(network: nn.Module, obs: Tensor, target: int, *arguments: Tensor) -> Tensor:
    obs = obs.clone().requires_grad_()
    return GuidedBackprop(network).attribute(obs, target=target, additional_forward_args=arguments or None).detach()


def assert_same_map(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float(theirs.abs().max()) > 0
    assert float((ours - theirs).norm() / theirs.norm()) <= 1e-5
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


# --- guided backpropagation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [0, 1])
@pytest.mark.slow
def test_guided_backprop_of_the_papers_critic_equals_captum(critic: Critic, head: int) -> None:
    obs, action = observations(), torch.rand(3, 2)
    theirs = captum_map(copy.deepcopy(critic), obs, head, action)
    assert_same_map(guided_backprop(lambda o: critic(o, action)[:, head], obs), theirs)
    assert_same_map(guided_backprop(lambda o: critic(o, action)[:, head].sum(), obs), theirs)
    assert_same_map(guided_backprop(lambda o: critic(o, action)[:, head : head + 1], obs), theirs)
    plain = gradient(lambda o: critic(o, action)[:, head], obs)
    assert float((plain - theirs).norm() / theirs.norm()) > 0.1  # the comparison can fail


def test_guided_backprop_of_the_papers_critic_at_full_size_equals_captum() -> None:
    torch.manual_seed(0)
    critic, obs, action = Critic(side=84), observations(2, 84), torch.rand(2, 2)
    theirs = captum_map(copy.deepcopy(critic), obs, 0, action)
    assert_same_map(guided_backprop(lambda o: critic(o, action), obs), theirs)


@pytest.mark.parametrize("output", range(5))
def test_guided_backprop_of_a_foreign_network_equals_captum_on_its_twin(foreign: Foreign, output: int) -> None:
    obs, twin = observations(), foreign.twin()
    torch.testing.assert_close(foreign(obs), twin(obs))
    assert_same_map(guided_backprop(lambda o: foreign(o)[:, output], obs), captum_map(twin, obs, output))


def test_guided_backprop_by_hand() -> None:
    """relu(x) - 2 relu(y) + relu(-z): only paths with a positive input and a positive gradient count."""

    def value(obs: Tensor) -> Tensor:
        x, y, z = obs.flatten(1)[:, :3].unbind(1)
        return torch.relu(x) - 2 * torch.relu(y) + 3 * torch.relu(-z)

    obs = torch.tensor([[2.0, 2.0, -2.0], [-2.0, -2.0, 2.0]]).view(2, 3, 1, 1)
    assert guided_backprop(value, obs).flatten(1).tolist() == [[1, 0, -3], [0, 0, 0]]
    assert gradient(value, obs).flatten(1).tolist() == [[1, -2, -3], [0, 0, 0]]


def test_the_gradient_is_cut_at_every_relu_and_not_only_at_the_first() -> None:
    """relu(5 - relu(x)) is open at the outer ReLU and cut at the inner one, where a gradient of -1 arrives."""
    obs = torch.full((1, 3, 1, 1), 2.0)
    assert guided_backprop(lambda o: torch.relu(5 - torch.relu(o)).sum(), obs).abs().sum() == 0
    assert gradient(lambda o: torch.relu(5 - torch.relu(o)).sum(), obs).flatten().tolist() == [-1, -1, -1]


@pytest.mark.parametrize("batch", [1, 3])
def test_samples_do_not_mix(critic: Critic, batch: int) -> None:
    obs, action = observations(batch), torch.rand(batch, 2)
    whole = guided_backprop(lambda o: critic(o, action)[:, 0], obs)
    for i in range(batch):
        alone = guided_backprop(lambda o, i=i: critic(o, action[i : i + 1])[:, 0], obs[i : i + 1])
        assert_same_map(whole[i : i + 1], alone)


def test_a_network_without_relus_has_its_plain_gradient() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(9, 4, 3), nn.Tanh(), nn.Flatten(), nn.LazyLinear(1))
    network(observations())
    assert torch.equal(guided_backprop(network, observations()), gradient(network, observations()))


def test_guided_backprop_of_our_encoder_and_heads_equals_captum() -> None:
    """The networks that ship, in float32: convolutions channels-last, projection, and twin heads evaluated at once."""
    torch.manual_seed(0)
    encoder = ConvEncoder((9, SIDE, SIDE), EncoderConfig(), torch.float32)
    projection, critic = Projection(encoder.output_size, 100), TwinCritic(102, hidden=64)

    class Together(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.projection, self.critic = encoder, projection, critic

        def forward(self, obs: Tensor, action: Tensor) -> Tensor:
            return self.critic(self.projection(self.encoder(obs)), action).T  # (B, heads)

    network, obs, action = Together(), observations(), torch.rand(3, 2)
    hooked = copy.deepcopy(network)
    hooked.encoder.by_layer = True  # captum hooks into the modules
    theirs = captum_map(hooked, obs, 0, action)
    assert_same_map(guided_backprop(lambda o: network(o, action)[:, 0], obs), theirs)


# --- the plain gradient -----------------------------------------------------------------------------------------------


def test_gradient_equals_autograd(critic: Critic) -> None:
    obs, action = observations(), torch.rand(3, 2)
    leaf = obs.clone().requires_grad_()
    expected = torch.autograd.grad(critic(leaf, action)[:, 1].sum(), leaf)[0]
    assert torch.equal(gradient(lambda o: critic(o, action)[:, 1], obs), expected)


# --- the contract of every registered map -----------------------------------------------------------------------------

maps = pytest.mark.parametrize("name", [name for name in SALIENCY.names() if needs_gradient(name)])
"""What all maps have in common is in ``test_every_map``."""


def small() -> Tensor:
    """As large as a contract needs."""
    return observations(side=20)


def test_the_registry_holds_both_maps() -> None:
    assert SALIENCY.get("gradient") is gradient
    assert SALIENCY.get("guided_backprop") is guided_backprop


@maps
def test_contract_nothing_of_the_network_is_touched(name: str, foreign: Foreign) -> None:
    parameters = list(foreign.parameters())
    parameters[0].grad = torch.full_like(parameters[0], 7.0)
    parameters[2].requires_grad_(False)
    kept = parameters[0].grad
    flags = [parameter.requires_grad for parameter in parameters]
    state = copy.deepcopy(foreign.state_dict())
    obs = small()
    before = obs.clone()
    saliency = SALIENCY.get(name)(lambda o: foreign(o)[:, 0], obs)
    assert (
        saliency.shape in {obs.shape, (3, 1, *obs.shape[2:])}
        and saliency.dtype == torch.float32
        and not saliency.requires_grad
    )
    assert parameters[0].grad is kept and bool((kept == 7).all())
    assert all(parameter.grad is None for parameter in parameters[1:])
    assert [parameter.requires_grad for parameter in parameters] == flags
    assert all(torch.equal(value, state[key]) for key, value in foreign.state_dict().items())
    assert torch.equal(obs, before) and obs.grad is None and not obs.requires_grad
    assert not foreign.training
    assert all(not module._forward_hooks and not module._backward_hooks for module in foreign.modules())


@pytest.mark.slow
@maps
def test_contract_frozen_networks_and_outer_no_grad(name: str, foreign: Foreign) -> None:
    expected = SALIENCY.get(name)(lambda o: foreign(o)[:, 0], small())
    with torch.no_grad():
        inside = SALIENCY.get(name)(lambda o: foreign(o)[:, 0], small())
        assert not torch.is_grad_enabled()
    assert torch.equal(inside, expected)
    assert torch.is_grad_enabled()
    foreign.requires_grad_(False)
    torch.testing.assert_close(SALIENCY.get(name)(lambda o: foreign(o)[:, 0], small()), expected)


@pytest.mark.slow
@maps
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_contract_other_dtypes(name: str, dtype: torch.dtype, foreign: Foreign) -> None:
    expected = SALIENCY.get(name)(lambda o: foreign(o)[:, 0], small())
    got = SALIENCY.get(name)(lambda o: foreign(o.float())[:, 0], small().to(dtype))
    torch.testing.assert_close(got.float(), expected)
    assert got.is_floating_point()


@maps
def test_contract_an_observation_inside_of_a_graph_is_cut_off_from_it(name: str, foreign: Foreign) -> None:
    scale = torch.ones((), requires_grad=True)
    saliency = SALIENCY.get(name)(lambda o: foreign(o)[:, 0], small() * scale)
    assert not saliency.requires_grad
    assert scale.grad is None


@maps
def test_contract_a_failing_function_leaves_no_trace(name: str, foreign: Foreign) -> None:
    def broken(obs: Tensor) -> Tensor:
        foreign(obs)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        SALIENCY.get(name)(broken, small())
    assert torch.is_grad_enabled()
    assert torch.equal(gradient(lambda o: foreign(o)[:, 0], small()), _autograd(foreign, small()))


def _autograd(foreign: Foreign, obs: Tensor) -> Tensor:
    leaf = obs.clone().requires_grad_()
    return torch.autograd.grad(foreign(leaf)[:, 0].sum(), leaf)[0]


@maps
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda obs: obs.mean(dim=(2, 3)), r"one value per sample, shape \(\) or \(3,\), not \(3, 9\)"),
        (lambda obs: obs.flatten()[:2], "one value per sample"),
        (lambda obs: obs.detach().sum(), "does not depend on the observation"),
        (lambda obs: (obs > 3).sum(), "does not depend on the observation"),
        (lambda obs: 3.0, "must return a tensor, not float"),
        (lambda obs: (obs.sum(), obs.sum()), "must return a tensor, not tuple"),
        (lambda obs: torch.ones((), requires_grad=True) * 2, "does not depend on the observation"),
    ],
)
def test_contract_a_function_of_the_wrong_form_is_refused(
    name: str, function: Callable[[Tensor], Tensor], message: str
) -> None:
    with pytest.raises(FovealError, match=message):
        SALIENCY.get(name)(function, small())


# --- on a graph that exists -------------------------------------------------------------------------------------------


def _trained_gradients(critic: Critic, action: Tensor, guided: bool) -> tuple[list[Tensor], Tensor | None]:
    """Parameter gradients of a loss whose graph served a guided pass before, or did not."""
    critic.zero_grad(set_to_none=True)
    pixels = observations().requires_grad_()
    values = critic(pixels, action)
    saliency = pixel_gradient(values[:, 0], pixels, guided=True) if guided else None
    assert all(parameter.grad is None for parameter in critic.parameters())
    (values - 1).square().mean().backward()
    return [parameter.grad.clone() for parameter in critic.parameters()], saliency


def test_a_guided_pass_leaves_the_graph_as_it_was(critic: Critic) -> None:
    action = torch.rand(3, 2)
    without, _ = _trained_gradients(critic, action, guided=False)
    after, saliency = _trained_gradients(critic, action, guided=True)
    assert all(torch.equal(a, b) for a, b in zip(without, after, strict=True))
    assert_same_map(saliency, guided_backprop(lambda o: critic(o, action)[:, 0], observations()))


def test_guided_and_plain_passes_alternate_on_one_graph(critic: Critic) -> None:
    action, pixels = torch.rand(3, 2), observations().requires_grad_()
    value = critic(pixels, action)[:, 0]
    plain, guided = (pixel_gradient(value, pixels, guided=flag) for flag in (False, True))
    assert not torch.equal(plain, guided)
    assert torch.equal(pixel_gradient(value, pixels, guided=False), plain)
    assert torch.equal(pixel_gradient(value, pixels, guided=True, retain_graph=False), guided)
    assert pixels.grad is None
    with pytest.raises(RuntimeError, match="second time"):  # the graph was given back
        pixel_gradient(value, pixels, guided=True)


def test_pixels_may_be_the_output_of_a_network_with_relus_of_its_own(critic: Critic, foreign: Foreign) -> None:
    """As under a learnt mask: the map is taken at what the critic sees, and what made it plays no part."""
    action = torch.rand(3, 2)
    seen = observations() * torch.relu(foreign(observations())[:, :1, None, None] + 1)
    value = critic(seen, action)[:, 0]
    for guided, alone in ((True, guided_backprop), (False, gradient)):
        assert_same_map(pixel_gradient(value, seen, guided=guided), alone(lambda o: critic(o, action)[:, 0], seen))


def test_hooks_are_gone_after_a_guided_pass_that_failed(critic: Critic) -> None:
    action, pixels = torch.rand(3, 2), observations().requires_grad_()
    value = critic(pixels, action)[:, 0]
    plain = pixel_gradient(value, pixels, guided=False)
    with pytest.raises(FovealError, match="does not depend on the observation"):
        pixel_gradient(value, torch.zeros(2, requires_grad=True), guided=True)
    assert torch.equal(pixel_gradient(value, pixels, guided=False), plain)


# --- masks ------------------------------------------------------------------------------------------------------------


def mask_by_loop(saliency: Tensor, quantile: float) -> np.ndarray:
    values = saliency.numpy()
    mask = np.zeros(values.shape, bool)
    for sample in range(values.shape[0]):
        for start in range(0, values.shape[1], 3):
            strength = np.abs(values[sample, start : start + 3]).max(axis=0)
            mask[sample, start : start + 3] = strength >= np.quantile(strength, quantile, method="linear")
    return mask


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(1, 7),
    st.one_of(st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.98]), st.floats(0, 0.999)),
    st.sampled_from(["values", "ties", "constant", "zeros"]),
    st.integers(0, 999),
)
def test_quantile_mask_equals_numpys_quantile(
    batch: int, frames: int, height: int, width: int, quantile: float, kind: str, seed: int
) -> None:
    draws = torch.Generator().manual_seed(seed)
    # Integers, so that NumPy's arithmetic and ours round alike wherever a threshold meets a value.
    values = torch.randint(-4096, 4097, (batch, 3 * frames, height, width), generator=draws).float()
    choices = {"values": values, "ties": values.sign(), "constant": torch.full_like(values, -2.5), "zeros": values * 0}
    saliency = choices[kind]
    mask = quantile_mask(saliency, quantile)
    assert mask.dtype == torch.bool
    assert mask.shape == saliency.shape
    assert np.array_equal(mask.numpy(), mask_by_loop(saliency, quantile))


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.95, 0.98])
def test_quantile_mask_equals_torch_quantile_on_real_maps(critic: Critic, quantile: float) -> None:
    action = torch.rand(3, 2)
    saliency = guided_backprop(lambda o: critic(o, action)[:, 0], observations())
    strength = saliency.abs().unflatten(1, (3, 3)).amax(2)  # (B, F, H, W)
    threshold = torch.quantile(strength.flatten(2), quantile, dim=2)
    expected = (strength >= threshold[..., None, None]).repeat_interleave(3, dim=1)
    assert torch.equal(quantile_mask(saliency, quantile), expected)


@pytest.mark.parametrize(("quantile", "kept"), [(0.0, 7056), (0.5, 3528), (0.9, 706), (0.95, 353), (0.98, 142)])
def test_the_number_of_pixels_kept(quantile: float, kept: int) -> None:
    """Of 84 * 84 different values, those with rank >= quantile * 7055: 7056 - ceil(quantile * 7055)."""
    torch.manual_seed(0)
    saliency = torch.stack([torch.randperm(9 * 84 * 84).view(9, 84, 84) + 1.0 for _ in range(2)])
    mask = quantile_mask(saliency * torch.where(torch.rand_like(saliency) < 0.5, -1, 1), quantile)
    assert mask.unflatten(1, (3, 3))[:, :, 0].flatten(2).sum(2).unique().tolist() == [kept]
    assert torch.equal(mask[:, 0::3], mask[:, 1::3])
    assert torch.equal(mask[:, 0::3], mask[:, 2::3])


@pytest.mark.gpu
@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.9, 0.98, 0.999])
def test_quantile_mask_on_a_gpu_equals_that_on_the_cpu(quantile: float) -> None:
    saliency = torch.randint(-99, 100, (2, 9, 21, 17), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(quantile_mask(saliency.cuda(), quantile).cpu(), quantile_mask(saliency, quantile))


def test_quantile_mask_by_hand() -> None:
    saliency = torch.zeros(1, 6, 2, 2)
    saliency[0, 1] = torch.tensor([[1.0, -4.0], [2.0, 3.0]])  # first frame: green alone, by magnitude
    saliency[0, 5] = torch.tensor([[9.0, 9.0], [-9.0, 1.0]])  # second frame: ties, all kept
    mask = quantile_mask(saliency, 0.5)
    assert mask[0, 0].tolist() == [[False, True], [False, True]]
    assert mask[0, 3].tolist() == [[True, True], [True, False]]


def test_frames_and_samples_have_thresholds_of_their_own() -> None:
    saliency = torch.rand(4, 9, 12, 12, generator=torch.Generator().manual_seed(0))
    scaled = saliency * torch.logspace(-6, 6, 12).view(4, 3, 1).repeat_interleave(3, 1).view(4, 9, 1, 1)
    assert torch.equal(quantile_mask(saliency, 0.9), quantile_mask(scaled, 0.9))


def test_quantile_mask_of_any_memory_format_and_of_half_precision() -> None:
    saliency = torch.randn(2, 9, 12, 12, generator=torch.Generator().manual_seed(0))
    expected = quantile_mask(saliency, 0.9)
    assert torch.equal(quantile_mask(saliency.to(memory_format=torch.channels_last), 0.9), expected)
    coarse = saliency.bfloat16()
    assert torch.equal(quantile_mask(coarse, 0.9), quantile_mask(coarse.float(), 0.9))


@pytest.mark.parametrize("quantile", [-0.1, 1.0, 1.5, float("nan")])
def test_quantiles_out_of_range_are_refused(quantile: float) -> None:
    with pytest.raises(FovealError, match="quantile"):
        quantile_mask(torch.zeros(1, 3, 4, 4), quantile)


@pytest.mark.parametrize("shape", [(1, 4, 4, 4), (3, 4, 4), (1, 3, 4, 4, 4), (1, 0, 4, 4)])
def test_maps_of_the_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FovealError, match="shape"):
        quantile_mask(torch.zeros(shape), 0.9)
