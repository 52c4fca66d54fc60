"""Policies of every kind, asked as their makers say."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

import foveal
from foveal.auditing.adapters import ADAPTERS, Adapter, AdapterOptions, LeRobotPolicy, adapted
from foveal.auditing.adapters.lerobot import as_batch
from foveal.errors import FovealError
from foveal.pictures.video import write_video
from small_env import small_agent
from small_policies import SIDE, Sides, looking

UNIT = AdapterOptions(pixels="unit")


def seen(seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


class Halves(nn.Module):
    """A number for each side: how bright it is."""

    def forward(self, pixels: Tensor) -> Tensor:
        left = pixels[:, :, :, :18].mean(dim=(1, 2, 3))
        right = pixels[:, :, :, 18:].mean(dim=(1, 2, 3))
        return torch.stack([left, right], dim=1)


def kept(policy: Any, env: Any, **options: Any) -> foveal.Audit:
    """A small audit."""
    return foveal.audit(policy, env, None, changes=["hue"], severities=[1], maps=(), progress=False, **options)


# --- which kind it is -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_kind_is_recognised_and_only_by_its_own() -> None:
    predicting = SimpleNamespace(predict=lambda observation, deterministic=True: (1, None))
    lerobot = SimpleNamespace(reset=lambda: None, select_action=lambda batch: torch.zeros(1, 2))
    found = {
        "callable": looking,
        "predict": predicting,
        "lerobot": lerobot,
        "torch": Halves(),
        "foveal": small_agent(),
    }
    for name, policy in found.items():
        assert type(adapted(policy, UNIT)) is ADAPTERS.get(name), name


def test_an_adapter_is_taken_as_it_is() -> None:
    adapter = LeRobotPolicy(SimpleNamespace(reset=lambda: None, select_action=None))
    assert adapted(adapter, UNIT) is adapter


def test_what_is_no_policy_is_said_to_be_none() -> None:
    with pytest.raises(FovealError, match=r"a builtins.int is no policy .* predict\(observation\)"):
        adapted(3, UNIT)


def test_a_policy_that_is_not_there_is_said_not_to_be() -> None:
    with pytest.raises(FovealError, match=r"there is no policy nowhere\.zip"):
        adapted("nowhere.zip", UNIT)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.h5", b"\x89HDF\r\n\x1a\nrest", "weights of Keras"),
        ("model.pkl", b"\x80\x04rest", "a Python pickle"),
        ("model.safetensors", b"12345678{}", "weights without their network"),
        ("model.tar.gz", b"\x1f\x8brest", "unpack it first"),
        ("model.bin", b"anything", "no model that foveal knows"),
    ],
)
def test_files_of_others_are_told_apart(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FovealError, match=f"{re.escape(name)} looks like .*{said}"):
        adapted(tmp_path / name, UNIT)


def test_weights_alone_and_folders_of_others_are_told_apart(tmp_path: Path) -> None:
    torch.save(Halves().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(FovealError, match=r"weights that torch\.save wrote, without the network"):
        adapted(tmp_path / "weights.pt", UNIT)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as packed:
        packed.writestr("readme.txt", "hello")
    with pytest.raises(FovealError, match="a zip file of something else"):
        adapted(tmp_path / "other.zip", UNIT)
    for mark, said in (
        ("saved_model.pb", "TensorFlow"),
        ("rllib_checkpoint.json", "RLlib"),
        ("config.json", "LeRobot"),
    ):
        folder = tmp_path / said
        folder.mkdir()
        (folder / mark).touch()
        with pytest.raises(FovealError, match=f"{said}.*load it in Python"):
            adapted(folder, UNIT)


@pytest.mark.slow
def test_audits_import_no_library_that_is_an_extra() -> None:
    extras = ["stable_baselines3", "onnxruntime", "msgpack", "websockets", "pyarrow"]
    program = f"import sys, foveal; foveal.audit; print([name for name in {extras} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- functions and networks -------------------------------------------------------------------------------------------


def test_a_function_is_asked_with_what_the_environment_gives() -> None:
    adapter = adapted(looking, UNIT)
    assert adapter.act(seen()) == looking(seen())
    assert adapter.about == {"name": "looking", "kind": "function looking"}


def test_a_callable_with_reset_is_told_where_episodes_begin() -> None:
    class Counting:
        resets = 0

        def reset(self) -> None:
            self.resets += 1

        def __call__(self, observation: Any) -> int:
            return looking(observation)

    policy = Counting()
    found = kept(policy, Sides(), episodes=2)
    conditions = len(found.points) + len(found.blind) + len(found.clean)
    assert policy.resets == 2 * conditions + 3 + 1  # filmed episodes, and the rehearsal


@pytest.mark.parametrize(("pixels", "brightest"), [("unit", 1.0), ("bytes", 255.0)])
def test_a_module_is_given_channels_first_in_the_range_that_was_said(pixels: str, brightest: float) -> None:
    given = []
    module = nn.Identity()
    module.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    picture = seen()
    picture[0, 0, 0] = 255
    adapted(module, AdapterOptions(pixels=pixels)).act(picture)
    assert given[0].shape == (1, 3, SIDE, SIDE) and given[0].dtype == torch.float32
    assert given[0].max() == brightest
    assert np.array_equal((given[0][0] * 255 / brightest).round().numpy().astype(np.uint8), picture.transpose(2, 0, 1))


def test_a_bare_network_must_be_told_what_pixels_are() -> None:
    with pytest.raises(FovealError, match="say --pixels bytes or --pixels unit"):
        adapted(Halves(), AdapterOptions())
    with pytest.raises(FovealError, match="pixels is 'percent'"):
        AdapterOptions(pixels="percent")


def test_a_module_that_gives_a_number_for_each_action_succeeds() -> None:
    found = kept(Halves(), Sides(), pixels="unit")
    assert found.clean[0].mean == 10.0 and found.verdict == "looks"
    assert found.policy["kind"] == "module of PyTorch"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_program_of_torchscript_acts_as_its_module(tmp_path: Path) -> None:
    torch.jit.trace(Halves(), torch.zeros(1, 3, SIDE, SIDE)).save(str(tmp_path / "halves.pt"))
    adapter = adapted(tmp_path / "halves.pt", UNIT)
    for seed in range(3):
        np.testing.assert_allclose(adapter.act(seen(seed)), adapted(Halves(), UNIT).act(seen(seed)), rtol=1e-6)
    assert kept(str(tmp_path / "halves.pt"), Sides(), pixels="unit").clean[0].mean == 10.0


def exported(folder: Path, dtype: torch.dtype) -> Path:
    class Bytes(Halves):
        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels.to(torch.float32))

    path = folder / "halves.onnx"
    example = torch.zeros(2, 3, SIDE, SIDE).to(dtype)
    torch.onnx.export(Bytes(), (example,), path, input_names=["image"], dynamo=False, dynamic_axes={"image": {0: "b"}})
    return path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_an_onnx_file_is_run_as_a_black_box(dtype: torch.dtype, tmp_path: Path) -> None:
    path = exported(tmp_path, dtype)
    pixels = None if dtype == torch.uint8 else "unit"
    adapter = adapted(path, AdapterOptions(pixels=pixels))
    assert adapter.observation_space is not None and adapter.observation_space.shape == (3, SIDE, SIDE)
    found = kept(str(path), Sides(), pixels=pixels)
    assert found.clean[0].mean == 10.0 and found.verdict == "looks"
    if pixels is not None:
        with pytest.raises(FovealError, match=r"takes 'image' in floating point.*--pixels"):
            adapted(path, AdapterOptions())


def test_a_damaged_onnx_file_and_a_missing_extra_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    with pytest.raises(FovealError, match="no ONNX file that can be run"):
        adapted(tmp_path / "broken.onnx", UNIT)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(FovealError, match=r"pip install 'foveal\[onnx\]'"):
        adapted(tmp_path / "broken.onnx", UNIT)


# --- predict ----------------------------------------------------------------------------------------------------------


class Recurrent:
    """``predict`` as sb3-contrib's recurrent agents have it: says the side that it saw one step before."""

    observation_space = spaces.Box(0, 255, (3, SIDE, SIDE), np.uint8)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.begun: list[bool] = []

    def predict(
        self,
        observation: Any,
        state: tuple[Any, ...] | None = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, tuple[Any, ...]]:
        assert deterministic and observation.shape == (3, SIDE, SIDE)
        self.begun.append(bool(episode_start[0]))
        assert (state is None) == bool(episode_start[0])
        now = looking(observation.transpose(1, 2, 0))
        before = now if state is None else int(state[0])
        return np.int64(before), (np.array(now),)


def test_a_recurrent_policy_keeps_its_state_within_an_episode() -> None:
    policy = Recurrent()
    adapter = adapted(policy, UNIT)
    pictures = [seen(seed).transpose(2, 0, 1) for seed in range(4)]
    sides = [looking(picture.transpose(1, 2, 0)) for picture in pictures]
    for _ in range(2):
        adapter.reset()
        assert [int(adapter.act(picture)) for picture in pictures] == [sides[0], *sides[:-1]]
    assert policy.begun == [True, False, False, False] * 2


def test_predict_without_a_state_and_without_a_tuple_is_understood() -> None:
    policy = SimpleNamespace(predict=lambda observation: looking(observation))
    assert kept(policy, Sides()).clean[0].mean == 10.0


def test_a_function_that_is_to_draw_its_actions_is_refused() -> None:
    with pytest.raises(FovealError, match=r"draw its actions: --drawn is for agents with predict"):
        adapted(looking, AdapterOptions(drawn=True))


def test_a_policy_behind_normalised_observations_is_refused() -> None:
    policy = SimpleNamespace(
        predict=lambda observation: 1, get_vec_normalize_env=lambda: SimpleNamespace(norm_obs=True)
    )
    with pytest.raises(FovealError, match="VecNormalize normalised"):
        adapted(policy, UNIT)


# --- LeRobot ----------------------------------------------------------------------------------------------------------


class Chunked:
    """A policy of LeRobot's shape: decides once for two steps, and must be reset between episodes.

    Its preprocessor has divided positions by 10, and its postprocessor multiplies actions by 2.
    """

    def __init__(self, *names: str) -> None:
        self.config = SimpleNamespace(image_features=dict.fromkeys(names, None))
        self.queue: list[Tensor] = []
        self.batches: list[dict[str, Any]] = []

    def reset(self) -> None:
        self.queue = []

    def select_action(self, batch: dict[str, Any]) -> Tensor:
        self.batches.append(batch)
        if not self.queue:
            picture = next(entry for name, entry in batch.items() if "image" in name)
            side = float(picture[..., 18:].mean() > picture[..., :18].mean())
            self.queue = [torch.tensor([[side - 0.5]])] * 2
        return self.queue.pop()


def test_batches_are_named_as_lerobot_names_them() -> None:
    batch = as_batch({"pixels": {"top": seen(), "wrist": seen(1)}, "agent_pos": np.arange(3.0)})
    assert {name: tuple(entry.shape) for name, entry in batch.items()} == {
        "observation.images.top": (1, 3, SIDE, SIDE),
        "observation.images.wrist": (1, 3, SIDE, SIDE),
        "observation.state": (1, 3),
    }
    assert torch.equal(
        (batch["observation.images.top"] * 255).round()[0], torch.tensor(seen()).permute(2, 0, 1).float()
    )
    assert list(as_batch(seen())) == ["observation.image"]
    assert list(as_batch({"pixels": seen(), "environment_state": np.zeros(2)})) == [
        "observation.image",
        "observation.environment_state",
    ]


def test_a_lerobot_policy_acts_through_its_processors() -> None:
    policy = Chunked()

    def before(batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "observation.state": batch["observation.state"] / 10}

    adapter = LeRobotPolicy(policy, AdapterOptions(prompt="pick it up"), before, lambda action: action * 2)
    adapter.reset()
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, 18:] = 200
    assert adapter.act({"pixels": picture, "agent_pos": np.array([5.0])}).tolist() == [1.0]
    assert policy.batches[0]["observation.state"].tolist() == [[0.5]]
    assert policy.batches[0]["task"] == ["pick it up"]
    assert adapter.remarks == ()


def test_one_picture_goes_under_the_only_name_that_the_policy_knows() -> None:
    policy = Chunked("observation.images.front")
    LeRobotPolicy(policy).act(seen())
    assert list(policy.batches[0]) == ["observation.images.front"]
    with pytest.raises(FovealError, match=r"sees observation\.images\.a, observation\.images\.b"):
        LeRobotPolicy(Chunked("observation.images.a", "observation.images.b")).act(seen())


@pytest.mark.slow
def test_a_lerobot_policy_is_audited_as_it_is() -> None:
    found = kept(Chunked(), Sides(continuous=True))
    assert found.clean[0].mean > 6 and found.policy["kind"] == "Chunked of LeRobot"
    assert found.remarks and "No preprocessor" in found.remarks[0]


# --- foveal's own -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_agent_of_foveals_acts_in_its_own_environment(tmp_path: Path) -> None:
    agent = small_agent()
    found = kept(agent, None, episodes=1)
    assert found.policy["kind"].startswith("sgqn on sac") and len(found.clean[0].episodes) == 1
    frames = [np.random.default_rng(seed).integers(0, 256, (50, 60, 3), np.uint8) for seed in range(40)]
    shown = kept(agent, None, frames=write_video(tmp_path / "film.mp4", frames, fps=10))
    assert shown.measure == "action drift" and len(shown.clean[0].values) == 20
    folder = agent.save(tmp_path / "agent")
    assert type(adapted(str(folder), UNIT)) is ADAPTERS.get("foveal")


def test_policies_with_a_world_of_their_own_are_refused() -> None:
    class Game:
        env_id, env_options = "atari/breakout", {}

        def predict(self, observation: Any) -> Any:
            return 0, None

    with pytest.raises(FovealError, match="a world of its own"):
        adapted(Game(), UNIT)


def test_a_kind_of_ones_own_is_one_class() -> None:
    class Thinker:
        def think(self, observation: Any) -> int:
            return looking(observation)

    class Thinking(Adapter):
        @classmethod
        def recognises(cls, policy: Any) -> bool:
            return hasattr(policy, "think")

        def act(self, observation: Any) -> Any:
            return self.policy.think(observation)

    assert Thinking.recognises(Thinker())
    assert kept(Thinking(Thinker()), Sides()).clean[0].mean == 10.0
