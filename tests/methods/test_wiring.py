"""Every setting of every method changes what it names. A new setting, or a new method, needs a line in the table."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import foveal
from foveal.augmentations import AUGMENTATIONS, random_crop, random_translate
from foveal.config.environment import augmentation_options
from foveal.fovea.learning import Learning
from foveal.fovea.network import Output
from foveal.learners import LEARNERS
from foveal.methods import METHODS, agreement, scpl, sgqn, srm, tstm
from foveal.methods.base import StrongAugmentation
from foveal.types import Batch, Observation
from small_env import small_agent
from small_updates import NoTargetEncoder
from wires import Room, Wire, assert_complete, cases


def agent_with(method: str, **settings: Any) -> foveal.Agent:
    """An agent of the debug preset with some settings of its method."""
    agent = small_agent(method=method, training={"precision": "float32"}, **{method: settings})
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():  # fresh networks look at few pixels, so that most saliency is 0 and masks tie
        for parameter in agent.learner.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draws))
    return agent


def sampler(agent: foveal.Agent, asked: list[int] | None = None) -> Any:
    """Random transitions of any number, as replay would give them; notes how many were asked for."""
    draws = torch.Generator().manual_seed(0)
    side = agent.env_options["image_size"]

    def sample(size: int) -> Batch:
        if asked is not None:
            asked.append(size)
        shape = (2, size, agent.shapes.image[0], side, side)
        images = torch.randint(0, 256, shape, generator=draws, dtype=torch.uint8)
        action = torch.rand(size, agent.learner.action_size, generator=draws) * 2 - 1
        reward = torch.rand(size, generator=draws)
        return Batch(Observation(images[0]), action, reward, torch.full((size,), 0.9), Observation(images[1]))

    return sample


def update(agent: foveal.Agent, asked: list[int] | None = None) -> dict[str, Tensor]:
    sample = sampler(agent, asked)
    batch = sample(8)
    if asked is not None:
        asked.clear()
    return agent.updater.update(batch, sample)


def kept(network: nn.Module | nn.Parameter) -> Tensor:
    parameters = network.parameters() if isinstance(network, nn.Module) else [network]
    return torch.cat([p.detach().flatten().clone() for p in parameters])


# --- what several methods have ----------------------------------------------------------------------------------------


def shift(method: str, *, both: bool = True, **others: Any) -> Any:
    """The furthest that a picture moves, for observation and next observation or for the former alone, either way."""

    def observe(room: Room, value: int) -> set[int]:
        agent = agent_with(method, shift=value, **others)
        side, size = agent.shapes.image[1], 400
        ramp = torch.arange(side, dtype=torch.uint8)
        places = torch.stack([ramp[:, None].expand(side, side), ramp.expand(side, side)])  # (2, H, W): row, column
        image = places.repeat(5, 1, 1)[: agent.shapes.image[0]].expand(size, -1, -1, -1)
        batch = Batch(Observation(image), *[torch.zeros(size)] * 3, Observation(image))
        prepared = agent.method.prepare(batch)
        found = set()
        for obs in (prepared.obs, prepared.next_obs) if both else (prepared.obs,):
            for channel in (0, 1):
                moved = obs.image[:, channel, side // 2, side // 2].float().round().int() - side // 2
                found |= {int(moved.max()), -int(moved.min())}
        assert both or prepared.next_obs.image is image
        if value:  # each observation by a draw of its own
            assert not torch.equal(prepared.obs.image, prepared.next_obs.image)
        return found

    return Wire(0, 2, 4, observe=observe, expected=lambda v: {v})


def augmentation(method: str, usual: str = "overlay") -> Any:
    """Names of the augmentations that would give the very picture that the method trains on."""

    def observe(room: Room, value: str) -> list[str]:
        agent = agent_with(method, augmentation=value)
        seen: list[tuple[Tensor, torch.Generator, Tensor]] = []
        real = StrongAugmentation.__call__

        def noted(self: Any, images: Tensor, generator: torch.Generator) -> Tensor:
            before = torch.Generator().set_state(generator.get_state())
            seen.append((images, before, real(self, images, generator)))
            return seen[-1][2]

        room.patch.setattr(StrongAugmentation, "__call__", noted)
        update(agent)
        options = augmentation_options(agent.config, agent.device)
        same = {usual, "conv"}
        for name in sorted(same):
            for images, before, made in seen:
                again = AUGMENTATIONS.get(name)(options)(images, before.clone_state())
                same -= set() if torch.equal(made, again) else {name}
        return sorted(same)

    return Wire(usual, "conv", observe=observe, expected=lambda v: [v])


def mixture(method: str) -> Any:
    """The parts of what the augmentation "mixture" draws among."""

    def observe(room: Room, value: tuple[str, ...]) -> list[str]:
        augment: Any = agent_with(method, augmentation="mixture", mixture=value).method.augment
        return list(augment.build().built)

    return Wire(("conv",), ("rotate", "conv"), observe=observe, expected=list)


def two_views(method: str, usual: str = "overlay") -> dict[str, Wire]:
    """What methods have that weigh a clean and an augmented view."""
    return {
        "clean_weight": view_weight("clean_weight", method),
        "augmented_weight": view_weight("augmented_weight", method),
        "augmentation": augmentation(method, usual),
        "shift": shift(method),
        "mixture": mixture(method),
    }


def period(method: str, setting: str, moves: str, metric: str) -> Any:
    """Numbers of the updates at which the auxiliary network moved, and at which its loss was noted."""

    def observe(room: Room, value: int) -> list[list[int]]:
        agent = agent_with(method, **{setting: value})
        moved, noted = [], []
        for number in range(5):
            before = kept(getattr(agent.method, moves))
            metrics = update(agent)
            moved += [number] if not torch.equal(before, kept(getattr(agent.method, moves))) else []
            noted += [number] if metric in metrics else []
        return [moved, noted]

    return Wire(1, 2, 3, observe=observe, expected=lambda v: [list(range(0, 5, v))] * 2)


def step_size(method: str, setting: str, network: str) -> Any:
    """The largest change of a weight by Adam's first step, which is the learning rate."""

    def observe(room: Room, value: float) -> Any:
        agent = agent_with(method, **{setting: value})
        before = kept(getattr(agent.method, network))
        update(agent)
        return pytest.approx(float((kept(getattr(agent.method, network)) - before).abs().max()), rel=1e-3)

    return Wire(3e-4, 1e-2, observe=observe)


# --- SVEA -------------------------------------------------------------------------------------------------------------


def view_weight(setting: str, method: str) -> Any:
    """The weight of a view in the loss that is minimised."""

    def observe(room: Room, value: float) -> Any:
        agent = agent_with(method, **{setting: value})
        losses: list[Tensor] = []
        real = agent.learner.td_loss
        room.patch.setattr(agent.learner, "td_loss", lambda *a: (losses.append(real(*a)), losses[-1])[1])
        metrics = update(agent)
        clean, augmented = (float(loss.detach()) for loss in losses)
        total, first = float(metrics["critic/loss"]), float(metrics["critic/td"])
        return pytest.approx(first / clean if setting == "clean_weight" else (total - first) / augmented, rel=1e-4)

    return Wire(0.5, 0.2, observe=observe)


# --- MaDi -------------------------------------------------------------------------------------------------------------


def masker_sizes(agent: foveal.Agent) -> list[tuple[int, int]]:
    method: Any = agent.method
    return [(layer.in_channels, layer.out_channels) for layer in method.masker.layers]


# --- SODA -------------------------------------------------------------------------------------------------------------


def auxiliary_batch(room: Room, value: int) -> list[int]:
    asked: list[int] = []
    agent = agent_with("soda", auxiliary_batch=value)
    seen = room.watch(StrongAugmentation, "__call__")
    update(agent, asked)
    return [*asked, *(len(images) for (_, images, _), _ in seen)]


def soda_tau(room: Room, value: float) -> Any:
    agent = agent_with("soda", tau=value, auxiliary_lr=1e-2)
    method: Any = agent.method
    trained = {"project": method.project, "convolutions": agent.learner.convolutions}
    before = {name: kept(getattr(method, f"target_{name}")) for name in trained}
    update(agent)
    shares = []
    for name, network in trained.items():
        way, moved = kept(network) - before[name], kept(getattr(method, f"target_{name}")) - before[name]
        shares.append(float((way * moved).sum() / way.square().sum()))
    return pytest.approx(max(shares, key=lambda share: abs(share - value)), abs=1e-4)


def soda_sizes(*layers: tuple[str, int]) -> Any:
    def read(agent: foveal.Agent) -> set[int]:
        return {getattr(agent.method, network)[index].out_features for network, index in layers}

    return read


# --- SGQN -------------------------------------------------------------------------------------------------------------


def masks(agent: foveal.Agent, room: Room) -> dict[str, Tensor]:
    """The mask that fills the picture, and that which the decoder learns."""
    filled = room.watch(sgqn, "fill_masked")
    learned = room.watch(sgqn, "binary_cross_entropy")
    update(agent)
    return {"critic": filled[0][0][1], "decoder": learned[0][0][1]}


def quantile(room: Room, value: float) -> list[Any]:
    """Share of each frame that its mask leaves out."""
    found = masks(agent_with("sgqn", quantile=value), room)
    return [pytest.approx(1.0 - float(mask[:, c].float().mean()), abs=3e-3) for mask in found.values() for c in (0, 8)]


def consistency_weight(room: Room, value: float) -> Any:
    agent = agent_with("sgqn", consistency_weight=value)
    losses: list[Tensor] = []
    real = sgqn.consistency
    room.patch.setattr(sgqn, "consistency", lambda *a: (losses.append(real(*a)), losses[-1])[1])
    metrics = update(agent)
    added = float(metrics["critic/loss"]) - float(metrics["critic/td"])
    return [
        pytest.approx(part / float(losses[0].detach()), rel=1e-3)
        for part in (added, float(metrics["critic/consistency"]))
    ]


def decoder_filters(room: Room, value: tuple[int, int, int]) -> tuple[int, ...]:
    decoder: Any = agent_with("sgqn", decoder_filters=value).method.decoder
    convolutions = [layer for layer in decoder.modules() if isinstance(layer, nn.Conv2d)]
    return tuple(layer.in_channels for layer in convolutions)


# --- SMG --------------------------------------------------------------------------------------------------------------


def mask_share(room: Room, value: float) -> Any:
    agent = agent_with("smg", mask_share=value)
    last: Any = agent.method.foreground_decoder.layers[5]  # type: ignore[index, union-attr]
    with torch.no_grad():
        last.convolution.weight[3:].zero_()
        last.convolution.bias[3:].zero_()  # every mask is a half
    return pytest.approx(0.5 - float(update(agent)["smg/mask"]) ** 0.5, abs=1e-4)


def smg_consistency(room: Room, value: float) -> Any:
    agent = agent_with("smg", consistency_weight=value)
    values: list[Tensor] = []
    real = agent.learner.estimate

    def noted(obs: Observation, action: Tensor) -> Any:
        made = real(obs, action)
        values.append(made.values.detach())
        return made

    room.patch.setattr(agent.learner, "estimate", noted)
    metrics = update(agent)
    plain, changed = values
    raw = float((changed - plain).square().mean(1).sum())
    return pytest.approx((float(metrics["critic/loss"]) - float(metrics["critic/td"])) / raw, rel=1e-3)


def attribution_share(room: Room, value: float) -> float:
    agent: Any = agent_with("smg", attribution_share=value)
    obs = sampler(agent)(3).obs.float()
    changes = [agent.method.change(agent.learner, obs) for _ in range(4)]
    return sum(torch.equal(changed.chosen, changed.attribution) for changed in changes) / 4


SMG_LOSSES = {"reconstruction": 1.0, "background": 2.0, "mask": 1.0, "action": 1.0, "foreground": 0.1}


def smg_weight(name: str) -> Any:
    """What one of the five losses counts in their sum."""

    def observe(room: Room, value: float) -> Any:
        metrics = update(agent_with("smg", **{f"{name}_weight": value, "mask_from": 0}))
        losses = {key: float(metrics[f"smg/{key}"]) for key in SMG_LOSSES}
        others = sum(SMG_LOSSES[key] * loss for key, loss in losses.items() if key != name)
        return pytest.approx((float(metrics["smg/loss"]) - others) / losses[name], rel=1e-2)

    return Wire(SMG_LOSSES[name], 3.0, observe=observe)


def mask_from(room: Room, value: int) -> list[int]:
    agent = agent_with("smg", mask_from=value, auxiliary_period=1)
    counted = []
    for number in range(6):
        metrics = update(agent)
        losses = {key: weight * float(metrics[f"smg/{key}"]) for key, weight in SMG_LOSSES.items()}
        counted += [number] if float(metrics["smg/loss"]) - sum(losses.values()) > -0.5 * losses["mask"] else []
    return counted


def smg_gradient_norm(room: Room, value: float) -> Any:
    agent: Any = agent_with("smg", gradient_norm=value)
    update(agent)
    gradients = [p.grad.flatten() for p in agent.method.auxiliary_parameters()]
    return pytest.approx(float(torch.cat(gradients).norm()), rel=1e-3)


def smg_filters(room: Room, value: tuple[int, int, int]) -> set[tuple[int, ...]]:
    method: Any = agent_with("smg", decoder_filters=value).method
    decoders = (method.foreground_decoder, method.background_decoder)
    return {tuple(layer.in_channels for layer in d.modules() if isinstance(layer, nn.Conv2d)) for d in decoders}


# --- SCPL -------------------------------------------------------------------------------------------------------------


def scpl_quantile(room: Room, value: float) -> list[Any]:
    """Share of each view's frames that its mask leaves out."""
    filled = room.watch(scpl, "fill_masked")
    update(agent_with("scpl", quantile=value))
    views = filled[0][0][1].chunk(2)
    return [pytest.approx(1.0 - float(mask[:, c].float().mean()), abs=3e-3) for mask in views for c in (0, 8)]


def scpl_consistency(room: Room, value: float) -> Any:
    agent = agent_with("scpl", consistency_weight=value)
    found: dict[str, list[Tensor]] = {"td": [], "consistency": []}
    real, real_td = scpl.consistency, agent.learner.td_loss
    room.patch.setattr(scpl, "consistency", lambda *a: (found["consistency"].append(real(*a)), real(*a))[1])
    room.patch.setattr(agent.learner, "td_loss", lambda *a: (found["td"].append(real_td(*a)), real_td(*a))[1])
    metrics = update(agent)
    td, raw = 0.5 * float(sum(found["td"]).detach()), float(found["consistency"][0].detach())  # type: ignore[union-attr]
    return pytest.approx((float(metrics["critic/loss"]) - td) / raw, rel=1e-3)


def agreement_weight(method: str) -> Any:
    """What a divergence of 3 adds to the policy's loss, over 3."""

    def observe(room: Room, value: float) -> Any:
        room.patch.setattr(agreement, "divergence", lambda one, other: torch.full((8,), 3.0))
        losses = [float(update(agent_with(method, agreement_weight=w))["actor/loss"]) for w in (value, 0.0)]
        return pytest.approx((losses[0] - losses[1]) / 3.0, rel=1e-3)

    return Wire(1.0, 2.5, observe=observe)


# --- TSTM -------------------------------------------------------------------------------------------------------------


def learning(room: Room, **settings: Any) -> dict[str, Any]:
    """What the segmenter's training called: its minibatches, networks, losses and steps."""
    agent = agent_with("tstm", **settings)
    asked: list[int] = []
    plain = sampler(agent, asked)
    draws = torch.Generator().manual_seed(3)

    def sample(size: int) -> Batch:
        packed = torch.randint(0, 256, (size, 5, 36 * 36 // 8), generator=draws, dtype=torch.uint8)
        batch: Batch = plain(size)
        return batch.replace(extras={"scene": packed})

    found: dict[str, Any] = {"asked": asked, "before": kept(agent.method.segmenter)}  # type: ignore[arg-type]
    for name in ("minimize", "adam", "imitation_loss"):
        found[name] = room.watch(tstm, name)
    for name in ("mask_loss", "imitation_loss"):
        real, made = getattr(tstm, name), found.setdefault(f"made/{name}", [])
        room.patch.setattr(tstm, name, lambda *a, real=real, made=made: (made.append(real(*a)), made[-1])[1])
    found["augmented"] = room.watch(StrongAugmentation, "__call__")
    found["fitted"] = room.watch(agent.method, "_fit")
    agent.method.begin_learning(sample, visible=False)
    found["after"] = kept(agent.method.segmenter)  # type: ignore[arg-type]
    return found


def channels(network: Any) -> tuple[int, ...]:
    return tuple(layer.out_channels for layer in network.down)


def teacher_filters(room: Room, value: tuple[int, ...]) -> tuple[int, ...]:
    fitted = [channels(arguments[0]) for arguments, _ in learning(room, teacher_filters=value)["fitted"]]
    assert fitted[-1] == (4, 8, 8)
    return fitted[0] if len(fitted) == 2 else ()


def imitation(room: Room, value: float) -> Any:
    found = learning(room, imitation=value, teacher_filters=(3, 4, 5), segmenter_updates=1)
    losses = found["made/mask_loss"][-1], found["made/imitation_loss"][-1], found["minimize"][-1][0][0]
    hard, told, both = (float(loss.detach()) for loss in losses)
    return pytest.approx((both - hard) / (told - hard), rel=1e-3)


def segmenter_lr(room: Room, value: float) -> Any:
    """The largest change of a weight by Adam's first step."""
    found = learning(room, segmenter_lr=value, segmenter_updates=1)
    return pytest.approx(float((found["after"] - found["before"]).abs().max()), rel=1e-2)


def temperature(room: Room, value: float) -> float:
    found = learning(room, temperature=value, teacher_filters=(3, 4, 5))
    (told,) = {arguments[2] for arguments, _ in found["imitation_loss"]}
    return float(told)


def projection(room: Room, value: int) -> list[int]:
    layers: Any = agent_with("tstm", projection=value).method.project
    return [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]


SPREADS = ("invariance", "variance", "covariance")


def vicreg_weight(name: str, others: dict[str, float]) -> Any:
    """What one of its three parts counts."""

    def observe(room: Room, value: float) -> Any:
        made: list[tuple[Tensor, ...]] = []
        real = tstm.vicreg
        room.patch.setattr(tstm, "vicreg", lambda *a: (made.append(real(*a)), made[-1])[1])
        total = float(update(agent_with("tstm", **{name: value}))["critic/vicreg"])
        parts = {key: float(part.detach()) for key, part in zip(SPREADS, made[0], strict=True)}
        rest = sum(weight * parts[key] for key, weight in others.items())
        return pytest.approx((total - rest) / parts[name], rel=1e-2)

    return Wire(1.5, 4.0, observe=observe)


def regularization(room: Room, value: float) -> Any:
    totals = [float(update(agent_with("tstm", regularization=w))["critic/vicreg"]) for w in (value, 1.0)]
    return pytest.approx(totals[0] / totals[1], rel=1e-4)


# --- foveal -----------------------------------------------------------------------------------------------------------


def fovea_steps(room: Room, value: dict[str, int]) -> int:
    calls = room.watch(Learning, "step")
    agent = agent_with("foveal", fovea=value)
    agent.learn(2, progress=False)
    return len(calls)


def fovea_output(room: Room, value: str) -> str:
    """Of a network that draws white and takes the upper half for the task, what it makes of grey."""
    agent = agent_with("foveal", output=value)

    def network(frames: Tensor) -> Output:
        mask = torch.ones_like(frames[:, :1])
        mask[:, :, 18:] = -1
        return Output(torch.ones_like(frames), mask, torch.zeros(len(frames)))

    agent.method.fovea.network.forward = network  # type: ignore[union-attr, method-assign]
    perceived = agent.perceive(torch.full((1, *agent.shapes.image), 100.0))
    upper, lower = (set(part.unique().tolist()) for part in perceived.split(18, 2))
    return {(255, 255): "restored", (100, 0): "masked", (255, 0): "foreground"}[(*upper, *lower)]


# --- RAD, CURL, PAD and SRM -------------------------------------------------------------------------------------------


def rad_augmentation(room: Room, value: str) -> list[str]:
    """Names of what would make the very pictures that RAD trains on."""
    agent = agent_with("rad", augmentation=value)
    batch, side = sampler(agent)(8), agent.shapes.image[1]
    options, state = augmentation_options(agent.config, agent.device), agent.generator.get_state()
    made = agent.method.prepare(batch).obs.image

    def again(name: str) -> Tensor | None:
        draws, image = torch.Generator().set_state(state), batch.obs.image
        if name == "crop":
            return random_crop(image, side, draws) if image.shape[-1] > side else None
        if name == "translate":
            return random_translate(image, side, draws) if image.shape[-1] < side else None
        return AUGMENTATIONS.get(name)(options)(image, draws) if image.shape[-1] == side else None

    remade = {name: again(name) for name in ("crop", "translate", "conv", "cutout")}
    return [name for name, image in remade.items() if image is not None and torch.equal(image, made)]


def curl_tau(room: Room, value: float) -> Any:
    """The share of the way to the encoder that the momentum encoder goes in an update without a contrastive step."""
    room.patch.setitem(LEARNERS._entries, "sac", NoTargetEncoder)
    agent = agent_with("curl", tau=value, auxiliary_period=5)
    method: Any = agent.method
    before = kept(method.target_projection)
    agent.updater.updates = 2
    update(agent)
    way, moved = kept(agent.learner.projection) - before, kept(method.target_projection) - before
    return pytest.approx(float((way * moved).sum() / way.square().sum()), abs=1e-4)


def pad_adaptation(room: Room, **settings: Any) -> tuple[float, int]:
    """The largest change of a weight by one step of an episode, and on how many crops it was taken."""
    agent = agent_with("pad", **settings)
    method: Any = agent.method
    calls, before = room.watch(method, "loss"), kept(method.head)
    method.adapt(sampler(agent)(1))
    ((image, _, _), _) = calls[0]
    return float((kept(method.head) - before).abs().max()), len(image)


def share_of_masked(room: Room, value: float) -> float:
    """The share of batches that lose frequencies where every ring holds all of them."""
    room.patch.setattr(srm, "random_rings", lambda *_: torch.ones(1, 1, 36, 19, dtype=torch.bool))
    agent = agent_with("srm", probability=value, shift=0)
    batch = sampler(agent)(1)
    masked = [not bool(agent.method.prepare(batch).obs.image.any()) for _ in range(200)]
    return round(sum(masked) / 200, 1)


WIRES: dict[str, Mapping[str, Wire]] = {
    "none": {},
    "drq": {"shift": shift("drq")},
    "svea": two_views("svea"),
    "madi": {
        **two_views("madi"),
        "filters": Wire(
            4,
            7,
            expected=lambda n: [(3, n), (n, n), (n, 1)],
            observe=lambda _, n: masker_sizes(agent_with("madi", filters=n)),
        ),
    },
    "simgrl": two_views("simgrl", "shifted-overlay"),
    "sada": two_views("sada", "mixture"),
    "soda": {
        "auxiliary_batch": Wire(8, 11, observe=auxiliary_batch, expected=lambda n: [n, n]),
        "auxiliary_period": period("soda", "auxiliary_period", "predict", "soda/loss"),
        "auxiliary_lr": step_size("soda", "auxiliary_lr", "predict"),
        "tau": Wire(0.005, 0.3, observe=soda_tau),
        "projection": Wire(
            8,
            5,
            expected=lambda n: {n},
            observe=lambda _, n: soda_sizes(("project", 3), ("predict", 3), ("target_project", 3))(
                agent_with("soda", projection=n)
            ),
        ),
        "hidden": Wire(
            8,
            5,
            expected=lambda n: {n},
            observe=lambda _, n: soda_sizes(("project", 0), ("predict", 0))(agent_with("soda", hidden=n)),
        ),
        "augmentation": augmentation("soda"),
    },
    "sgqn": {
        "quantile": Wire(0.9, 0.95, 0.5, observe=quantile, expected=lambda q: [q] * 4),
        "consistency_weight": Wire(0.5, 2.0, observe=consistency_weight, expected=lambda w: [w, w]),
        "auxiliary_period": period("sgqn", "auxiliary_period", "decoder", "attribution/loss"),
        "auxiliary_lr": step_size("sgqn", "auxiliary_lr", "decoder"),
        "decoder_filters": Wire((4, 8, 4), (3, 5, 2), observe=decoder_filters),
        "augmentation": augmentation("sgqn"),
        "shift": shift("sgqn"),
    },
    "smg": {
        "mask_share": Wire(0.06, 0.3, observe=mask_share),
        "consistency_weight": Wire(0.5, 2.0, observe=smg_consistency),
        "attribution_share": Wire(0.0, 1.0, observe=attribution_share),
        **{f"{name}_weight": smg_weight(name) for name in SMG_LOSSES},
        "mask_from": Wire(0, 3, observe=mask_from, expected=lambda n: list(range(n, 6))),
        "auxiliary_period": period("smg", "auxiliary_period", "foreground_decoder", "smg/loss"),
        "auxiliary_lr": step_size("smg", "auxiliary_lr", "foreground_decoder"),
        "gradient_norm": Wire(1e-2, 1e-3, observe=smg_gradient_norm),
        "decoder_filters": Wire((4, 8, 4), (3, 5, 2), observe=smg_filters, expected=lambda f: {f}),
        "hidden": Wire(8, 5, observe=lambda _, n: agent_with("smg", hidden=n).method.action[0].out_features),  # type: ignore[index, union-attr]
        "shift": shift("smg"),
    },
    "scpl": {
        "quantile": Wire(0.9, 0.5, observe=scpl_quantile, expected=lambda q: [q] * 4),
        "consistency_weight": Wire(0.5, 2.0, observe=scpl_consistency),
        "agreement_weight": agreement_weight("scpl"),
        "auxiliary_period": period("scpl", "auxiliary_period", "dynamics", "dynamics/reward"),
        "auxiliary_lr": step_size("scpl", "auxiliary_lr", "dynamics"),
        "hidden": Wire(8, 5, observe=lambda _, n: agent_with("scpl", hidden=n).method.dynamics.latent.in_features),  # type: ignore[union-attr]
        "augmentation": augmentation("scpl"),
        "shift": shift("scpl"),
    },
    "tstm": {
        "filters": Wire(
            (4, 8, 8), (2, 3, 5), observe=lambda _, f: channels(agent_with("tstm", filters=f).method.segmenter)
        ),
        "teacher_filters": Wire((3, 4, 5), (), observe=teacher_filters),
        "segmenter_updates": Wire(4, 7, observe=lambda r, n: len(learning(r, segmenter_updates=n)["minimize"])),
        "segmenter_batch": Wire(
            4, 3, observe=lambda r, n: set(learning(r, segmenter_batch=n)["asked"]), expected=lambda n: {n}
        ),
        "segmenter_lr": Wire(1e-3, 1e-2, observe=segmenter_lr),
        "overlay_share": Wire(0.0, 1.0, observe=lambda r, s: len(learning(r, overlay_share=s)["augmented"]) / 4),
        "imitation": Wire(0.7, 0.2, observe=imitation),
        "temperature": Wire(4.0, 2.0, observe=temperature),
        "regularization": Wire(1.0, 0.3, observe=regularization),
        "invariance": vicreg_weight("invariance", {"variance": 1.25, "covariance": 0.005}),
        "variance": vicreg_weight("variance", {"invariance": 1.25, "covariance": 0.005}),
        "covariance": vicreg_weight("covariance", {"invariance": 1.25, "variance": 1.25}),
        "projection": Wire(8, 5, observe=projection, expected=lambda n: [n] * 3),
        "agreement_weight": agreement_weight("tstm"),
        "augmentation": augmentation("tstm"),
        "shift": shift("tstm", both=False),
    },
}

WIRES |= {
    "foveal": {
        "fovea": Wire({"steps": 3}, {"steps": 5}, observe=fovea_steps, expected=lambda fovea: fovea["steps"]),
        "output": Wire("restored", "masked", "foreground", observe=fovea_output),
        "shift": shift("foveal"),
    },
    "rad": {
        "augmentation": Wire("crop", "translate", "conv", "cutout", observe=rad_augmentation, expected=lambda v: [v])
    },
    "curl": {
        "auxiliary_period": period("curl", "auxiliary_period", "similarity", "curl/loss"),
        "auxiliary_lr": step_size("curl", "auxiliary_lr", "similarity"),
        "tau": Wire(0.05, 0.3, observe=curl_tau),
    },
    "pad": {
        "task": Wire(
            "inverse",
            "rotation",
            observe=lambda _, v: agent_with("pad", task=v).method.head[-1].out_features,  # type: ignore[index,union-attr]
            expected={"inverse": 2, "rotation": 4}.get,
        ),
        "shared_layers": Wire(
            1,
            2,
            8,
            observe=lambda _, n: len(agent_with("pad", shared_layers=n).method.own_layers),  # type: ignore[arg-type]
            expected={1: 2, 2: 1, 8: 0}.get,
        ),
        "hidden": Wire(
            16,
            5,
            observe=lambda _, n: agent_with("pad", hidden=n).method.head[2].out_features,  # type: ignore[index,union-attr]
        ),
        "auxiliary_period": period("pad", "auxiliary_period", "head", "pad/loss"),
        "auxiliary_lr": step_size("pad", "auxiliary_lr", "head"),
        "adaptation_lr": Wire(
            1e-3, 0.02, observe=lambda room, v: pytest.approx(pad_adaptation(room, adaptation_lr=v)[0], rel=1e-3)
        ),
        "adaptation_batch": Wire(4, 7, observe=lambda room, n: pad_adaptation(room, adaptation_batch=n)[1]),
    },
    "srm": {
        "probability": Wire(0.0, 0.5, 1.0, observe=share_of_masked),
        "shift": shift("srm", probability=0.0),
    },
}


def test_no_method_is_forgotten() -> None:
    assert set(WIRES) == set(METHODS.names())


@pytest.mark.parametrize("method", METHODS.names())
def test_no_setting_of_a_method_is_forgotten(method: str) -> None:
    assert_complete(METHODS.get(method).Config, WIRES[method])


@pytest.mark.slow
@cases(
    {f"{method}.{name}": wire for method, wires in WIRES.items() for name, wire in wires.items()},
    quick=lambda name: name.startswith(("sgqn.", "svea.")),
)
def test_settings_of_methods_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


# --- which weights the steps beside the critic's are taken from -------------------------------------------------------


@pytest.mark.slow
def test_the_fresh_mask_and_the_actors_features_are_of_the_updated_critic(room: Room) -> None:
    agent = agent_with("sgqn", quantile=0.5)
    critic_steps: list[dict[str, Tensor]] = []
    optimizer = agent.updater.critic_optimizer

    def after(*_: Any) -> None:
        critic_steps.append({name: value.clone() for name, value in agent.learner.state_dict().items()})

    optimizer.register_step_post_hook(after)
    learned = room.watch(sgqn, "binary_cross_entropy")
    policy = room.watch(agent.learner, "policy_step")
    before = {name: value.clone() for name, value in agent.learner.state_dict().items()}
    contexts: list[Any] = []
    real = agent.method.auxiliary
    room.patch.setattr(agent.method, "auxiliary", lambda context: (contexts.append(context), real(context))[1])
    update(agent)
    assert len(critic_steps) == 1
    (obs, _, features), _ = policy[0]
    pixels = obs.image.detach()

    def seen(weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        agent.learner.load_state_dict(weights)
        image = pixels.clone().requires_grad_()
        estimate = agent.learner.estimate(Observation(image), contexts[0].batch.action)
        return estimate.features.detach(), agent.method.mask(estimate.values, image)  # type: ignore[operator]

    stale, stale_mask = seen(before)
    fresh, fresh_mask = seen(critic_steps[0])
    torch.testing.assert_close(features, fresh, rtol=0, atol=0)
    assert not torch.allclose(features, stale, rtol=1e-4, atol=1e-4)
    assert torch.equal(learned[0][0][1], fresh_mask)
    assert not torch.equal(fresh_mask, stale_mask)


def test_a_batch_prepared_for_the_critic_serves_the_actor_too() -> None:
    agent = agent_with("drq", shift=4)
    seen: list[Any] = []
    real_estimate, real_policy = agent.learner.estimate, agent.learner.policy_step
    spy = SimpleNamespace(
        estimate=lambda obs, action: (seen.append(obs.image), real_estimate(obs, action))[1],
        policy=lambda obs, *rest: (seen.append(obs.image), real_policy(obs, *rest))[1],
    )
    agent.learner.estimate, agent.learner.policy_step = spy.estimate, spy.policy  # type: ignore[method-assign]
    update(agent)
    assert len(seen) == 2 and torch.equal(seen[0], seen[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in METHODS.names() if name != "none"])
def test_every_update_draws_anew(method: str) -> None:
    """The generator of updates moves on with every one, so the same batch is never changed alike twice."""
    agent = agent_with(method)
    states = []
    for _ in range(4):
        states.append(bytes(agent.generator.get_state().numpy()))
        update(agent)
    assert len(set(states)) == 4
