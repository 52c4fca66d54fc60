"""What docs/architecture.md promises about the code, checked: which way imports run, and what no file may contain."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src" / "foveal").rglob("*.py"))
MOST_LINES = 400

# (what it is, pattern): none of these belongs in a published package.
FORBIDDEN_TEXT = [
    ("a path of one machine", re.compile(r"(?<![\w.\]/])/(?:work|home|root|Users|opt|mnt|tmp)/\w")),
    ("a reference to a tracker", re.compile(r"\bissues? #?\d+\b|\(#\d+\)", re.IGNORECASE)),
    ("unfinished business", re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")),
    ("a merge conflict", re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)),
]

FORBIDDEN_IMPORTS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "breakpoint", "os.system", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
# Keyword arguments which a call may have only with the value given here.
REQUIRED_KEYWORDS = {"allow_pickle": False, "weights_only": True, "shell": False}


def problems_in(source: str) -> list[str]:
    """Everything in one file's source that no file may contain, as readable lines."""
    found = [
        f"line {source[: match.start()].count(chr(10)) + 1}: {what} ({match.group().strip()!r})"
        for what, pattern in FORBIDDEN_TEXT
        for match in pattern.finditer(source)
    ]
    for node in ast.walk(ast.parse(source)):
        found += [f"line {getattr(node, 'lineno', 0)}: {problem}" for problem in _problems_at(node)]
    return found


def _problems_at(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [f"imports {a.name}" for a in node.names if a.name.partition(".")[0] in FORBIDDEN_IMPORTS]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"imports {node.module}"] if node.module.partition(".")[0] in FORBIDDEN_IMPORTS else []
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        return ["a bare except"]
    if isinstance(node, ast.Call):
        return _problems_of_call(node)
    return []


def _problems_of_call(call: ast.Call) -> list[str]:
    name = ast.unparse(call.func)
    found = [f"calls {name}"] if name in FORBIDDEN_CALLS else []
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name == "torch.load" and "weights_only" not in given:
        found.append("torch.load without weights_only=True")
    for keyword, only in REQUIRED_KEYWORDS.items():
        value = given.get(keyword)
        if value is not None and not (isinstance(value, ast.Constant) and value.value is only):
            found.append(f"{name}({keyword}={ast.unparse(value)})")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=lambda path: path.name)
def test_files_are_clean(folder: Path) -> None:
    problems = []
    for path in (path for path in SOURCES if path.parent == folder):
        source = path.read_text(encoding="utf-8")
        found = problems_in(source)
        lines = source.count("\n")
        if lines > MOST_LINES:
            found.append(f"{lines} lines: more than {MOST_LINES} is more than one thing in a file")
        problems += [f"{path.name}: {problem}" for problem in found]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "try:\n    pass\nexcept:\n    pass",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "subprocess.run(command, shell=True)",
        "yaml.load(text)",
        "eval(text)",
        "path = '/home/someone/data'",
        "# TODO later",
        "# see issue 12",
    ],
)
def test_the_check_sees_what_it_forbids(source: str) -> None:
    assert problems_in(source)


def test_the_check_lets_ordinary_code_pass() -> None:
    source = "x = np.load(path, allow_pickle=False)\ny = torch.load(path, weights_only=True)\nz = 'a/tmp/b'"
    assert problems_in(source) == []


def lint_imports(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs import-linter in a process of its own: it keeps global state."""
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_imports_run_one_way() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\d+ kept, 0 broken", result.stdout), result.stdout


def make_empty_tree(folder: Path) -> None:
    """Empty files with the names of the real ones, and the real contracts."""
    for path in [*SOURCES, ROOT / "src" / "foveal" / "__init__.py"]:
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")


# (importing module, imported module): each breaks one arrow, and must be caught.
WRONG_ARROWS = [
    ("foveal.types", "foveal.networks"),
    ("foveal.networks", "foveal.learners"),
    ("foveal.saliency", "foveal.networks"),
    ("foveal.augmentations", "foveal.saliency"),
    ("foveal.replay", "foveal.methods"),
    ("foveal.envs", "foveal.agent"),
    ("foveal.learners", "foveal.saliency"),
    ("foveal.learners", "foveal.methods"),
    ("foveal.methods", "foveal.learners.sac"),
    ("foveal.methods", "foveal.envs"),
    ("foveal.checkpoint", "foveal.networks"),
    ("foveal.evaluation.rollouts", "foveal.agent"),
    ("foveal.training", "foveal.cli"),
    ("foveal.explanation", "mujoco"),
    ("foveal.explanation", "foveal.auditing"),
    ("foveal.auditing", "lerobot"),
    ("foveal.saliency", "gymnasium"),
    ("foveal.checkpoint", "pickle"),
]


@pytest.mark.slow
def test_wrong_arrows_and_homeless_modules_are_caught(tmp_path: Path) -> None:
    make_empty_tree(tmp_path)
    for importer, imported in WRONG_ARROWS:
        path = tmp_path / "src" / Path(*importer.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        with path.open("a", encoding="utf-8") as file:
            file.write(f"import {imported}\n")
    (tmp_path / "src" / "foveal" / "utils.py").touch()

    result = lint_imports(tmp_path)

    assert result.returncode == 1, result.stdout + result.stderr
    unseen = [arrow for arrow in WRONG_ARROWS if " -> ".join(arrow) not in result.stdout]
    assert not unseen, f"{unseen} were not caught:\n{result.stdout}"
    assert "foveal.utils" in result.stdout
    assert " 0 kept" in result.stdout, result.stdout


# --------------------------------------------------------------------------------------- protocols, not classes of ours

KNOW_NO_KIND = ["evaluation", "explanation", "gaze", "commands/evaluate.py", "commands/explain.py", "commands/gaze.py"]
"""What asks an agent for what it can do, and never which class it is of."""


def questions_of_class(source: str) -> list[str]:
    """Where a file asks whether something is of a class or protocol of foveal's, as readable lines."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "foveal"):
            own |= {name.asname or name.name for name in node.names}
        if isinstance(node, ast.Import):
            names = [name for name in node.names if name.name.split(".")[0] == "foveal"]
            own |= {name.asname or "foveal" for name in names}
    asked = [(node, classes) for node in ast.walk(tree) for classes in _classes_asked_for(node)]
    return [
        f"line {getattr(node, 'lineno', 0)}: {ast.unparse(classes)}"
        for node, classes in asked
        if own & {name.id for name in ast.walk(classes) if isinstance(name, ast.Name)}
    ]


def _classes_asked_for(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Call) and ast.unparse(node.func) in {"isinstance", "issubclass"}:
        return node.args[1:]
    if isinstance(node, ast.MatchClass):
        return [node.cls]
    if isinstance(node, ast.Compare) and re.match(r"type\(|.*\.__class__$", ast.unparse(node.left)):
        return node.comparators
    return []


@pytest.mark.parametrize("place", KNOW_NO_KIND)
def test_evaluating_and_explaining_ask_for_no_class(place: str) -> None:
    root = ROOT / "src" / "foveal" / place
    files = [root] if root.is_file() else sorted(root.rglob("*.py"))
    assert files
    found = [f"{path.name}: {line}" for path in files for line in questions_of_class(path.read_text(encoding="utf-8"))]
    assert not found, found


@pytest.mark.parametrize(
    "question",
    [
        "from foveal.agent import Agent\nisinstance(agent, Agent)",
        "from foveal.agent import Agent\nisinstance(agent, (str, Agent))",
        "from foveal.agent import Agent as A, B\nisinstance(agent, int | A)",
        "from foveal import agent\nissubclass(kind, agent.Agent)",
        "import foveal\nisinstance(agent, foveal.Agent)",
        "import foveal.agent as ours\nisinstance(agent, ours.Agent)",
        "class Looker(Protocol): ...\nisinstance(agent, Looker)",
        "from foveal.agent import Agent\ntype(agent) is Agent",
        "from foveal.agent import Agent\nagent.__class__ == Agent",
        "from foveal.agent import Agent\nmatch agent:\n    case Agent():\n        pass",
    ],
)
def test_a_question_of_class_is_seen(question: str) -> None:
    assert questions_of_class(question)


def test_questions_of_others_classes_are_let_pass() -> None:
    source = "from foveal.agent import Agent\nisinstance(Agent(), str | Mapping)\nisinstance(env, gymnasium.Env)"
    assert questions_of_class(source) == []


# ------------------------------------------------------------------------------------------------------ quick tests

COMMANDS = "from foveal.cli import main"
"""The room ``commands`` is reached through the command line."""


def quick_tests_import() -> str:
    """The imports of every test file in which some test is not marked slow."""
    texts = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        tests = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
        slow = [test for test in tests if any("mark.slow" in ast.unparse(d) for d in test.decorator_list)]
        if len(slow) < len(tests) and "pytestmark = pytest.mark.slow" not in source:
            texts += [line for line in source.splitlines() if re.match(r" *(from|import) foveal", line)]
    return "\n".join(texts)


@pytest.mark.slow
def test_quick_tests_enter_every_room() -> None:
    imports = quick_tests_import()
    rooms = sorted(path.parent.name for path in (ROOT / "src" / "foveal").glob("*/__init__.py"))
    assert {"atari", "skills", "envs", "methods"} <= set(rooms)
    unseen = [
        room for room in rooms if not re.search(rf"from foveal\.{room}\b|from foveal import .*\b{room}\b", imports)
    ]
    assert unseen in ([], ["commands"]) and COMMANDS in imports, f"no quick test enters {unseen}"


def test_tests_stand_in_folders_named_as_the_rooms() -> None:
    rooms = {path.parent.name for path in (ROOT / "src" / "foveal").glob("*/__init__.py")}
    tested = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert tested == rooms | {"benchmarks"}  # which stands beside the package
