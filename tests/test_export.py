"""The exported policy gives PyTorch's actions, for any batch, without PyTorch."""

from __future__ import annotations

import builtins
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import foveal
from foveal import FovealError, export
from foveal.cli import main
from small_env import SIZE, Counter, SavedCounter, small_agent

FLOAT32 = {"precision": "float32"}  # as exported


def run(path: Path, **inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == list(inputs)
    (actions,) = session.run(["action"], inputs)
    return actions


@pytest.mark.slow
def test_actions_equal_those_of_the_agent_which_stays_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # SODA crops what the policy sees.
    agent, other = (small_agent(method="soda", training=FLOAT32).learn(12, progress=False) for _ in range(2))
    level = logging.getLogger("torch.onnx._internal.exporter._registration").level
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = agent.export(tmp_path / "deep" / "policy.onnx")
    assert "".join(capfd.readouterr()) == ""  # and the exporter had nothing to say
    assert list(path.parent.iterdir()) == [path]
    assert logging.getLogger("torch.onnx._internal.exporter._registration").level == level
    size = agent.env_options["image_size"]
    assert size > SIZE
    image = np.zeros((9, size, size), np.uint8)
    assert (agent.predict(image)[0] == other.predict(image)[0]).all()
    assert all(parameter.requires_grad for parameter in agent.learner.critic_parameters())
    for batch in (1, 3):
        image = np.random.default_rng(batch).integers(0, 256, (batch, 9, size, size), np.uint8)
        expected, _ = agent.predict(image, deterministic=True)
        np.testing.assert_allclose(run(path, image=image), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["madi", "simgrl"])
def test_networks_of_methods_are_exported_with_the_policy(method: str, tmp_path: Path) -> None:
    agent = small_agent(method=method, training=FLOAT32)
    path = agent.export(tmp_path / "policy.onnx")
    for batch in (1, 3):
        image = np.random.default_rng(batch).integers(0, 256, (batch, 9, SIZE, SIZE), np.uint8)
        expected, _ = agent.predict(image, deterministic=True)
        np.testing.assert_allclose(run(path, image=image), expected, atol=1e-5)


@pytest.mark.slow
def test_vectors_beside_the_image(tmp_path: Path) -> None:
    agent = small_agent(lambda: Counter(vector=True), training=FLOAT32)
    path = agent.export(tmp_path / "policy.onnx")
    for batch in (1, 3):
        random = np.random.default_rng(batch)
        image = random.integers(0, 256, (batch, 9, SIZE, SIZE), np.uint8)
        vector = random.normal(size=(batch, 3)).astype(np.float32)
        expected, _ = agent.predict({"image": image, "vector": vector}, deterministic=True)
        np.testing.assert_allclose(run(path, image=image, vector=vector), expected, atol=1e-5)
        assert not np.allclose(run(path, image=image, vector=-vector), expected, atol=1e-5)


@pytest.mark.slow
def test_a_policy_that_disagrees_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.onnx").write_text("an older one")

    def other(exported: Any, path: Path) -> None:
        original(exported, path)
        with torch.no_grad():
            exported.network.learner.policy[-1].bias.add_(0.1)

    original = export._write
    monkeypatch.setattr(export, "_write", other)
    with pytest.raises(FovealError, match=r"disagrees with PyTorch by 0\.\d+; nothing was written"):
        small_agent().export(tmp_path / "policy.onnx")
    assert (tmp_path / "policy.onnx").read_text() == "an older one"
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_the_extra_is_named_where_it_is_missing(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == missing:
            raise ImportError(f"No module named {name!r}", name=name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FovealError, match=rf"exporting needs {missing}: pip install 'foveal\[onnx\]'"):
        small_agent(SavedCounter).export(tmp_path / "policy.onnx")


@pytest.mark.slow
def test_a_place_that_cant_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FovealError, match=r"can't write .*policy.onnx: .*(exists|directory)"):
        small_agent().export(tmp_path / "file" / "policy.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(FovealError, match=r"can't write .*folder.onnx"):
        small_agent().export(tmp_path / "folder.onnx")


@pytest.mark.slow
def test_the_command_writes_a_small_folder_that_acts_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = small_agent("dmc/walker-stand", training=FLOAT32).learn(8, run=tmp_path / "run", progress=False)
    assert main(["export", str(tmp_path / "run"), "--policy-only", "--out", str(tmp_path / "small")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "small")
    small: Any = foveal.load(tmp_path / "small")
    (image,) = np.random.default_rng(0).integers(0, 256, (1, 9, *small.shapes.image[1:]), np.uint8)
    np.testing.assert_allclose(small.predict(image)[0], agent.predict(image)[0], atol=1e-2)  # half precision

    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    assert size(tmp_path / "small") < size(tmp_path / "run") / 4
    for words, why in (
        ([str(tmp_path / "run"), "--out", str(tmp_path / "small")], "exists already"),
        ([str(tmp_path / "run"), "--out", str(tmp_path / "new"), "--shield", "x"], "leave --shield out"),
    ):
        assert main(["export", "--policy-only", *words]) == 2
        assert why in capsys.readouterr().err and not (tmp_path / "new").exists()
