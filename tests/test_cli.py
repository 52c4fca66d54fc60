"""The command line: the three verbs from a shell, help for every option, one clear line for every mistake."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import yaml

import foveal
import foveal.commands.train
from chromium import visit
from foveal import checkpoint
from foveal.cli import main
from foveal.commands.demo import DemoOptions
from foveal.commands.evaluate import EvaluateOptions
from foveal.commands.explain import ExplainOptions
from foveal.commands.train import _config, _names, _parse
from foveal.config.sections import EnvironmentConfig, TrainingConfig
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.learners import LEARNERS
from foveal.learners.sac import SACConfig
from foveal.methods import METHODS
from foveal.methods.sgqn import SGQNConfig
from foveal.methods.svea import SVEAConfig
from foveal.networks.encoders import EncoderConfig
from foveal.training import RunOptions
from foveal.training.run_folder import read_records
from shell import foveal_command
from small_env import SavedCounter, differing

COUNTER, DISCRETE, INTERRUPTED = "foveal-tests/Counter-v0", "foveal-tests/Discrete-v0", "foveal-tests/Interrupted-v0"

EXTRAS = (
    "ale_py",
    "Box2D",
    "pygame",
    "h5py",
    "stable_baselines3",
    "onnx",
    "onnxruntime",
    "rtde_control",
    "rtde_io",
    "rtde_receive",
    "wandb",
    "msgpack",
    "websockets",
    "pyarrow",
)
"""Modules that extras bring."""


def press_ctrl_c(step: int) -> float:
    if step == 13:
        signal.raise_signal(signal.SIGINT)
    return 0.0


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Any:
    gymnasium.register(COUNTER, entry_point=SavedCounter)
    gymnasium.register(DISCRETE, entry_point=SavedCounter, kwargs={"discrete": True})
    gymnasium.register(INTERRUPTED, entry_point=SavedCounter, kwargs={"rewards": press_ctrl_c})
    yield
    for name in (COUNTER, DISCRETE, INTERRUPTED):
        del gymnasium.registry[name]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def train(*arguments: str) -> int:
    return main(["train", COUNTER, "--preset", "debug", "--training.initial-random-steps", "8", *arguments])


# --- end to end -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_evaluate_explain(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--preset debug --steps 60 --environment.action-repeat 40 --evaluate-every 30 --evaluate-episodes 1"
    done = foveal_command("train", "dmc/cartpole-swingup", *options.split(), "--out", "run", folder=here)
    assert done.returncode == 0, done.stderr
    assert "next: foveal evaluate run" in done.stdout
    assert "100%" in done.stderr  # the bar
    assert [record["step"] for record in read_records(here / "run" / "episodes.jsonl")] == [25, 50]
    assert [record["step"] for record in read_records(here / "run" / "evaluations.jsonl")] == [30, 60]

    options = "--on train color_hard --episodes 2 --random --out scores.json"
    assert main(["evaluate", "run", *options.split()]) == 0
    told = capsys.readouterr().out
    results = Results.load(here / "scores.json")
    assert [len(condition.returns) for condition in results.conditions] == [2, 2]
    assert results.policy["steps"] == 60
    for condition in results.conditions:
        assert f"{condition.summary['mean']:.1f}" in told
    assert "generated" in told and "random" in told

    assert main(["explain", "run", "--on", "video_hard", "--out", "looks.html"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(here / "looks.html")
    found, console = visit((here / "looks.html").read_text(encoding="utf-8"), here)
    assert console == []
    assert found["images"] and min(found["images"]) > 0


@pytest.mark.slow
def test_a_run_is_repeated_from_its_configuration(here: Path) -> None:
    assert train("--method", "soda", "--seed", "3", "--steps", "30", "--sac.hidden", "24", "--out", "one") == 0
    assert main(["train", "--config", "one/config.yaml", "--out", "two"]) == 0
    first, second = (
        checkpoint.load(here / name / "checkpoints" / "000000030", kind="foveal.agent") for name in ("one", "two")
    )
    assert differing(agent_part(first), agent_part(second)) == []
    assert (here / "one" / "config.yaml").read_text() == (here / "two" / "config.yaml").read_text()

    assert main(["train", "--config", "one/config.yaml", "--seed", "4", "--out", "three"]) == 0
    third = checkpoint.load(here / "three" / "checkpoints" / "000000030", kind="foveal.agent")
    assert differing(agent_part(first), agent_part(third))


def agent_part(held: checkpoint.Checkpoint) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in held.tensors.items() if not name.startswith("run/")}


@pytest.mark.slow
def test_resuming_from_the_command_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", INTERRUPTED, "--preset", "debug", "--steps", "20", "--out", "run"]) == 130
    assert "to go on: foveal train --resume run" in capsys.readouterr().out
    assert main(["train", "--resume", "run"]) == 0
    assert "resumed run at agent step 13 of 20" in capsys.readouterr().out
    assert main(["train", "--resume", "run", "--steps", "25"]) == 0
    assert foveal.load("run").steps == 25
    assert main(["train", "--resume", "run", "--steps", "25"]) == 2
    assert "run is at agent step 25 already" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_have_a_folder_by_default(here: Path) -> None:
    assert train("--steps", "3", "--method", "none", "--seed", "7") == 0
    assert (here / "runs" / "foveal-tests-Counter-v0-none-7" / "config.yaml").is_file()


# --- what decides a setting -------------------------------------------------------------------------------------------


@pytest.fixture
def configured(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The options that ``foveal train`` would start with."""
    started: list[Any] = []
    monkeypatch.setattr(foveal.commands.train, "_start", started.append)

    def options(*arguments: str, file: dict[str, Any] | None = None) -> Any:
        if file is not None:
            (here / "file.yaml").write_text(yaml.safe_dump(file))
            arguments = (*arguments, "--config", "file.yaml")
        assert main(["train", *arguments]) == 0
        return started.pop()

    return options


@pytest.mark.slow
def test_a_flag_wins_over_the_file_and_the_file_over_the_preset(configured: Callable[..., Any]) -> None:
    file = {
        "env": COUNTER,
        "preset": "debug",
        "method": "svea",
        "seed": 5,
        "steps": 77,
        "training": {"batch_size": 4, "n_step": 2},
        "sac": {"hidden": 24, "encoder": {"filters": 6}},
        "run": {"evaluate_on": ["train", "video_hard"], "log_every": 3},
    }
    options = configured("--training.batch-size", "6", "--seed", "9", "--sac.encoder.projection", "5", file=file)
    assert (options.env, options.method, options.seed, options.steps) == (COUNTER, "svea", 9, 77)
    assert (options.training.batch_size, options.training.n_step, options.training.overlay_count) == (6, 2, 64)
    encoder = options.sac.encoder
    assert (options.sac.hidden, encoder.filters, encoder.projection, encoder.strides) == (24, 6, 5, (2, 2, 1))
    assert (options.run.evaluate_on, options.run.log_every) == (("train", "video_hard"), 3)
    assert configured("--method", "none", "--preset", "paper", file=file).training.overlay_count == 20_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "dmc/cartpole-swingup --preset debug --steps 5",
        "--preset debug dmc/cartpole-swingup --steps 5",
        "--preset debug --steps 5 dmc/cartpole-swingup",
    ],
)
def test_settings_of_a_task_hold_wherever_its_name_stands(line: str, configured: Callable[..., Any]) -> None:
    options = configured(*line.split())
    assert (options.env, options.steps, options.sgqn.quantile) == ("dmc/cartpole-swingup", 5, 0.98)


# --- help -------------------------------------------------------------------------------------------------------------


def helped(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert stop.value.code == 0
    return " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())


def assert_told(text: str, options: type, section: str = "") -> None:
    """Every documented field is an option, with its documentation behind it."""
    attributes = (options.__doc__ or "").partition("Attributes:")[2].partition("Raises:")[0]
    documented = re.findall(r"^ {8}(\w+): (.+)$", attributes, re.MULTILINE)
    assert len(documented) >= len(options.__dataclass_fields__) - 1  # type: ignore[attr-defined]
    for name, meaning in documented:
        flag = {"plugins": "import", "agent": "AGENT"}.get(name, name.replace("_", "-"))
        flag = flag if flag.isupper() else f"--{section}{flag}"
        words = " ".join(meaning.split()[:4])
        assert re.search(rf"{re.escape(flag)}\b[^│]{{0,120}}{re.escape(words)}", text), (flag, words)


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for command, options in (("evaluate", EvaluateOptions), ("explain", ExplainOptions), ("demo", DemoOptions)):
        assert_told(helped(command, capsys=capsys), options)
    text = helped("train", capsys=capsys)
    assert_told(text, RunOptions)
    parts = {"environment": EnvironmentConfig, "training": TrainingConfig, "sac": SACConfig, "sgqn": SGQNConfig}
    for section, part in (parts | {"sac.encoder": EncoderConfig}).items():
        assert_told(text, part, f"{section}.")
    for flag in ("method", "learner", "preset", "seed", "steps", "out", "config", "resume", "import"):
        assert re.search(rf"--{flag} \S+ \w+ ?\w+", text), flag


@pytest.mark.slow
def test_a_method_brings_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped("train", "--method", "svea", capsys=capsys)
    assert_told(text, SVEAConfig, "svea.")
    assert "--sgqn." not in text
    assert "--training.batch-size INT transitions per update. (default: 8)" in helped(
        "train", "--preset", "debug", capsys=capsys
    )
    assert "--steps INT agent steps, over all environments (default: 200)" in helped(
        "train", "--preset", "debug", capsys=capsys
    )


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_the_commands_are_listed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert all(f"foveal {command} " in text for command in ("train", "evaluate", "explain", "demo"))
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{foveal.__version__}\n"


@pytest.mark.slow
def test_python_m_foveal_is_the_command() -> None:
    run = [sys.executable, "-m", "foveal"]
    done = subprocess.run([*run, "--version"], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == f"{foveal.__version__}\n"
    failed = subprocess.run([*run, "tran"], capture_output=True, text=True, timeout=100, check=False)
    assert failed.returncode == 2 and "did you mean 'train'" in failed.stderr


SLOWLY_IMPORTED = {"scipy.stats", "scipy.spatial", "scipy.ndimage", "av", "torch._dynamo"}


@pytest.mark.slow
def test_commands_are_there_without_extras() -> None:
    """Nothing of an extra is imported before it is used, nor, by commands without an arm, what takes half a second."""
    program = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({EXTRAS}))
import foveal.loading, foveal.explanation, foveal.commands as commands
foveal.loading.load("pretrained:walker-stand-sgqn")
names = [room.name for room in pkgutil.iter_modules(commands.__path__)]
for name in sorted(names, key=lambda name: name.startswith("arm")):
    importlib.import_module(f"foveal.commands.{{name}}")
    found = {SLOWLY_IMPORTED} & set(sys.modules)
    assert name.startswith("arm") or not found, (name, found)
assert "scipy.stats" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_bare_import_and_help_load_nothing_heavy() -> None:
    program = """
import sys
import foveal
from foveal.cli import main
main(["--help"])
main(["--version"])
main(["tran"])
print(*(name for name in ("torch", "numpy", "gymnasium", "dm_control", "mujoco", "tyro") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert "did you mean 'train'" in done.stderr
    assert set(foveal.__all__) == {name for name in foveal.__all__ if getattr(foveal, name) is not None}
    with pytest.raises(AttributeError, match="has no attribute 'agnet'"):
        _ = foveal.agnet  # type: ignore[attr-defined]


@pytest.mark.slow
def test_waiting_threads_sleep_unless_told_otherwise(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    main(["evaluate", "nothing"])
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    main(["evaluate", "nothing"])
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    main(["evaluate", "nothing"])
    assert os.environ["GOMP_SPINCOUNT"] == "5"


# --- mistakes ---------------------------------------------------------------------------------------------------------

FILES = {
    "broken.yaml": "training: {batch_size: [",
    "list.yaml": "- 1\n- 2\n",
    "section.yaml": "trainign: {batch_size: 3}\n",
    "key.yaml": "training: {batchsize: 3}\n",
    "flat.yaml": "training: 5\n",
    "type.yaml": "training: {batch_size: many}\n",
    "seed.yaml": "seed: first\n",
    "env.yaml": "env: [1, 2]\n",
    "binary.yaml": "\x00",
    "used/notes.txt": "",
    "broken_plugin.py": "import a_module_that_is_not_there\n",
}

MISTAKES = [
    ("tran", "unknown command 'tran': did you mean 'train'?"),
    ("train dmc/walker-wlk", "unknown environment 'dmc/walker-wlk': did you mean 'dmc/walker-walk'"),
    ("train nonsense", "unknown environment 'nonsense': choose one of"),
    ("train CartPole-v1", "the observation of CartPole-v1 is a vector of 4 numbers, not an image"),
    (f"train {DISCRETE} --learner sac", "learner 'sac' needs Box actions, and this environment has Discrete"),
    (f"train {COUNTER} --method svae", "unknown method 'svae': did you mean 'svea'"),
    (f"train {COUNTER} --learner sca", "unknown learner 'sca': "),
    (f"train {COUNTER} --preset paprr", "unknown preset 'paprr': did you mean 'paper'?"),
    (f"train {COUNTER} --preset debug --evaluate-on color_hrd", "unknown perturbation 'color_hrd': did you mean"),
    (f"train {COUNTER} --preset debug --evaluate-on color_hard --data no", "data is 'no', which is no folder"),
    (f"train {COUNTER} --preset debug --training.overlays no", "no"),
    (f"train {COUNTER} --preset debug --out used", "used exists already: choose another folder"),
    (f"train {COUNTER} --steps 0", "--steps must be at least 1, not 0"),
    (f"train {COUNTER} --seed -1", "seed must be a whole number of at least 0, not -1"),
    (f"train {COUNTER} --training.batch-size 0", "training.batch_size must be at least 1, not 0"),
    (f"train {COUNTER} --training.device cuda", "device 'cuda' was asked for and PyTorch sees no GPU"),
    (f"train {COUNTER} --environment.quality ugly", "quality is 'ugly': choose one of: draft, exact, fast"),
    (f"train {COUNTER} --import no_such_module", "--import no_such_module: No module named 'no_such_module'"),
    (f"train {COUNTER} --import broken_plugin", "--import broken_plugin: No module named 'a_module_that_is_not"),
    ("train --config missing.yaml", "can't read the configuration missing.yaml: No such file or directory"),
    ("train --config broken.yaml", "the configuration broken.yaml is not YAML"),
    ("train --config binary.yaml", "the configuration binary.yaml is not YAML"),
    ("train --config list.yaml", "list.yaml must hold settings by name"),
    ("train --config section.yaml", "unknown section 'trainign': did you mean 'training'"),
    ("train --config key.yaml", "unknown setting training.batchsize: did you mean 'batch_size'"),
    ("train --config flat.yaml", "training must hold settings by name, not 5"),
    ("train --config type.yaml", "training.batch_size must be int, not 'many'"),
    ("train --config seed.yaml", "seed must be a whole number, not 'first'"),
    ("train --config env.yaml", "env must be a name, not [1, 2]"),
    ("train --resume used", "used is no run folder: it has no config.yaml"),
    ("train --resume nowhere", "nowhere is no run folder: it has no config.yaml"),
    ("evaluate nowhere", "nowhere is not a foveal checkpoint: there is nothing of that name"),
    ("evaluate pretrained:nonsense", "no pretrained policy 'nonsense'; these ship with foveal: "),
    ("evaluate AGENT --on color_hrd", "unknown perturbation 'color_hrd': did you mean 'color_hard'"),
    ("evaluate AGENT --on train train", "'train' is named twice"),
    ("evaluate AGENT --episodes 0", "episodes must be at least 1, not 0"),
    ("evaluate AGENT --seed -1", "seed must not be negative"),
    ("evaluate AGENT --out used", "used is a folder; name the file to write"),
    ("evaluate AGENT --out broken.yaml/x.json", "cannot write broken.yaml/x.json"),
    ("evaluate AGENT --device cuda", "device 'cuda' was asked for and PyTorch sees no GPU"),
    ("evaluate AGENT --on color_hard --data no", "data is 'no', which is no folder"),
    ("explain nowhere", "nowhere is not a foveal checkpoint"),
    ("explain AGENT --frames 0", "frames must be 1 to"),
    ("explain AGENT --out used", "used is a folder; name the file to write"),
    (
        "explain AGENT --saliency gradients",
        "unknown saliency map 'gradients': did you mean 'integrated_gradients' or 'gradient'",
    ),
    ("explain AGENT --quantile 1", "quantile must be in [0, 1), not 1"),
    ("demo --preset paper", "the demo has the presets compact and debug, not 'paper'"),
    ("demo --out used", "used exists already: choose another folder"),
    ("demo --preset debug --data no", "data is 'no', which is no folder"),
]


@pytest.fixture(scope="module")
def saved(_registered: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an agent."""
    return foveal.Agent(COUNTER, preset="debug").save(tmp_path_factory.mktemp("saved") / "AGENT")


@pytest.fixture
def prepared(here: Path, saved: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an agent and with files to stumble over."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, content in FILES.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(content)
    shutil.copytree(saved, here / "AGENT")
    return here


@pytest.mark.slow
@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line_before_any_work(
    line: str, message: str, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(prepared.rglob("*"))
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("foveal: error: ")
    assert message in err
    assert "Traceback" not in err
    found = sorted(path for path in prepared.rglob("*") if "__pycache__" not in path.parts)
    assert found == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"train {COUNTER} --training.batch-sise 3", ["--training.batch-sise", "--training.batch-size"]),
        (f"train {COUNTER} --sgqn.qantile 0.9", ["--sgqn.qantile", "--sgqn.quantile"]),
        (f"train {COUNTER} --seed x", ["--seed", "'x'"]),
        ("train", ["ENV"]),
        ("evaluate", ["AGENT"]),
        ("evaluate AGENT --episode 3", ["--episode", "--episodes"]),
        ("demo --sed 3", ["--sed", "--seed"]),
        ("train --resume used --seed 3", ["unrecognized arguments: --seed 3"]),
        ("train --import", ["--import", "expected one argument"]),
    ],
)
def test_a_misspelt_flag(line: str, words: list[str], prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    told = "".join(capsys.readouterr())
    assert all(word in told for word in words)
    assert "Traceback" not in told


def test_a_truncated_agent_is_told_in_one_line(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = prepared / "AGENT" / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["evaluate", "AGENT"]) == 2
    assert re.fullmatch(r"foveal: error: .*AGENT is damaged: tensors.safetensors has .*\n", capsys.readouterr().err)


# --- plug-ins ---------------------------------------------------------------------------------------------------------

PLUGIN = '''
from dataclasses import dataclass

import gymnasium
import numpy as np

from foveal.augmentations import AUGMENTATIONS
from foveal.envs import FAMILIES, PERTURBATIONS, Family, Perturbation
from foveal.methods import METHODS
from foveal.methods.svea import SVEA
from small_env import SavedCounter


@FAMILIES.register("toy")
class Toy(Family):
    def names(self):
        return ["counter"]

    def build(self, name, options):
        return SavedCounter()


class Darker(gymnasium.ObservationWrapper):
    def observation(self, frame):
        return (frame * 0.4).astype(np.uint8)


@PERTURBATIONS.register("night")
class Night(Perturbation):
    def apply(self, env):
        return Darker(env)


@AUGMENTATIONS.register("negative")
class Negative:
    source = None

    def __init__(self, options):
        pass

    def __call__(self, images, generator):
        return 255.0 - images


@dataclass
class LoudConfig:
    """A method's settings.

    Attributes:
        volume: how loud it is.
    """

    volume: float = 0.5
    shift: int = 2
    augmentation: str = "negative"
    clean_weight: float = 0.5
    augmented_weight: float = 0.5


@METHODS.register("loud-svea")
class Loud(SVEA):
    Config = LoudConfig

    def get_ready(self):
        super().get_ready()
        print("volume", self.config.volume)
'''


@pytest.mark.slow
def test_plugins_named_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    tests = Path(__file__).parent
    options = "--preset debug --steps 60 --evaluate-every 60 --evaluate-on train night --evaluate-episodes 1 --out run"
    options += " --method loud-svea --loud-svea.volume 11 --import my_plugin"
    done = foveal_command("train", "toy/counter", *options.split(), folder=tmp_path, python_path=tests)
    assert done.returncode == 0, done.stderr
    assert "volume 11.0" in done.stdout
    (record,) = read_records(tmp_path / "run" / "evaluations.jsonl")
    assert [c.perturbation for c in Results.from_dict(record).conditions] == ["train", "night"]

    options = "--on train night --episodes 1 --workers 2 --import my_plugin"  # other processes import it, too
    done = foveal_command("evaluate", "run", *options.split(), folder=tmp_path, python_path=tests)
    assert done.returncode == 0, done.stderr
    assert re.search(r"night +45\.0", done.stdout)

    assert main(["evaluate", str(tmp_path / "run")]) == 2  # without it
    assert "unknown method 'loud-svea'" in capsys.readouterr().err


@pytest.mark.slow
def test_plugins_of_installed_packages(tmp_path: Path) -> None:
    (tmp_path / "quietly.py").write_text(
        "from foveal.methods.svea import SVEA\n\n\nclass Quiet(SVEA):\n    quiet = True\n\n\n"
        "def darker(fn, obs):\n    return -obs\n"
    )
    (tmp_path / "quietly-1.0.dist-info").mkdir()
    (tmp_path / "quietly-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: quietly\nVersion: 1.0\n")
    (tmp_path / "quietly-1.0.dist-info" / "entry_points.txt").write_text(
        "[foveal.methods]\nquiet = quietly:Quiet\n\n[foveal.saliency]\ndarker = quietly:darker\n"
    )
    program = """
import foveal
from foveal.methods import METHODS
from foveal.saliency import SALIENCY
assert METHODS.get("quiet").quiet
print(METHODS.names(), SALIENCY.names())
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'quiet'" in done.stdout and "'sgqn'" in done.stdout and "'darker'" in done.stdout


def test_numbers_on_the_page_come_from_the_seed_that_was_asked_for(here: Path) -> None:
    foveal.Agent(COUNTER, preset="debug").save("AGENT")
    assert main(["evaluate", "AGENT", "--on", "train", "--episodes", "1", "--seed", "5", "--out", "a.json"]) == 0
    assert Results.load("a.json").seed == 5
    assert np.isfinite(Results.load("a.json").conditions[0].returns).all()


def test_the_command_line_decides_where_learner_and_method_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LEARNERS.get("sac"), "run_presets", {"paper": {"training": {"batch_size": 256}}})
    monkeypatch.setattr(METHODS.get("svea"), "run_presets", {"paper": {"training": {"batch_size": 64}}})
    words = ["dmc/walker-walk", "--method", "svea"]
    with pytest.raises(FovealError, match="decide by setting"):
        _parse(words, *_names(words))
    words += ["--training.batch-size", "9"]
    assert _config(_parse(words, *_names(words))).training.batch_size == 9
