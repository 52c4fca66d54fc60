"""Which precision convolutions get: by name, by what processor and library can do, and for what comes from elsewhere.

The tests answer for the library, so that a machine of either kind checks both.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import foveal
from foveal.errors import FovealError
from foveal.networks import precision
from foveal.networks.kernels.convolution import convolve
from foveal.networks.precision import convolution_dtype, portable_precision
from small_env import SavedCounter, small_agent

REFUSAL = "can't run in bfloat16 on this processor.* 'auto' or 'float32'"


def library_says(monkeypatch: pytest.MonkeyPatch, takes_bfloat16: bool, processor: dict[str, bool]) -> None:
    monkeypatch.setattr(precision, "cpu_convolves_bfloat16", lambda: takes_bfloat16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)


def test_precision_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    library_says(monkeypatch, True, {})  # emulated: slow, and obeyed
    assert convolution_dtype("float32", "cpu") == torch.float32
    assert convolution_dtype("bfloat16", "cpu") == torch.bfloat16
    assert convolution_dtype("auto", "meta") == torch.float32
    with pytest.raises(FovealError, match="precision must be one of auto, float32, bfloat16, not 'half'"):
        convolution_dtype("half", "cpu")


@pytest.mark.parametrize(
    ("processor", "takes_bfloat16", "expected"),
    [
        ({}, True, torch.float32),
        ({"avx512_bw": True}, True, torch.float32),
        ({"avx512_bf16": True}, True, torch.bfloat16),
        ({"amx_bf16": True}, True, torch.bfloat16),
        ({"avx512_bf16": True}, False, torch.float32),  # the library was told to use less than there is
    ],
)
def test_auto_precision_is_what_processor_and_library_multiply_natively(
    monkeypatch: pytest.MonkeyPatch, processor: dict[str, bool], takes_bfloat16: bool, expected: torch.dtype
) -> None:
    library_says(monkeypatch, takes_bfloat16, processor)
    assert convolution_dtype("auto", "cpu") == expected


def test_bfloat16_is_refused_where_the_library_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    library_says(monkeypatch, False, {})
    for refused in (
        lambda: convolution_dtype("bfloat16", "cpu"),
        lambda: convolve(torch.zeros(1, 1, 3, 3), [], torch.bfloat16),
    ):
        with pytest.raises(FovealError, match=REFUSAL):
            refused()
    assert convolution_dtype("bfloat16", "cuda") == torch.bfloat16  # the processor is not asked
    assert [portable_precision("bfloat16", device) for device in ("cpu", "cuda")] == ["float32", "bfloat16"]
    assert portable_precision("auto", "cpu") == "auto"


def test_the_library_is_asked_and_no_other_error_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(message: str) -> SimpleNamespace:
        def convolution(*arguments: object) -> Tensor:
            raise RuntimeError(message)

        return SimpleNamespace(_convolution_pointwise=convolution)

    ask = precision.cpu_convolves_bfloat16.__wrapped__
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops, "mkldnn", refusing("bf16 path needs the cpu support avx_ne_convert"))
    assert not ask()
    monkeypatch.setattr(torch.ops, "mkldnn", refusing("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        ask()
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    assert ask()


# --- wherever a precision can be asked for ----------------------------------------------------------------------------


def test_an_agent_in_bfloat16_needs_a_library_that_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library_says(monkeypatch, True, {})
    saved = small_agent(SavedCounter, training={"precision": "bfloat16"}).save(tmp_path / "agent")
    library_says(monkeypatch, False, {})
    with pytest.raises(FovealError, match=REFUSAL):
        small_agent(SavedCounter, training={"precision": "bfloat16"})
    loaded = foveal.load(saved, env=SavedCounter)
    assert loaded.config.training.precision == "float32" and loaded.learner.dtype == torch.float32


@pytest.mark.slow
def test_an_atari_agent_in_bfloat16_needs_a_library_that_takes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("ale_py", reason='needs the extra "atari"')
    from foveal.agent import Agent

    library_says(monkeypatch, True, {})
    asked = {"preset": "debug", "training": {"precision": "bfloat16"}}
    saved = Agent("atari/breakout", encoder="nature", **asked).save(tmp_path / "agent")  # type: ignore[arg-type]
    library_says(monkeypatch, False, {})
    with pytest.raises(FovealError, match=REFUSAL):
        Agent("atari/breakout", encoder="nature", **asked)  # type: ignore[arg-type]
    assert foveal.load(saved).config.training.precision == "float32"


def test_skills_in_bfloat16_need_a_library_that_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason='needs the extra "skills"')
    from foveal.skills.cloning import clone
    from foveal.skills.config import clone_config
    from foveal.skills.policy import SkillPolicy
    from small_skills import small_policy

    library_says(monkeypatch, True, {})
    saved = small_policy(precision="bfloat16").save(tmp_path / "skills")
    library_says(monkeypatch, False, {})
    with pytest.raises(FovealError, match=REFUSAL):  # before it looks for demonstrations
        clone(tmp_path / "nowhere", clone_config("debug", {"precision": "bfloat16"}))
    assert SkillPolicy.load(saved).network.dtype == torch.float32
