"""The master and what it is compared with: decisions of many steps, groups in processes, PPO, state on disk."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

import foveal
from small_skills import small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')

from foveal.cli import main
from foveal.envs.ur5e.experts import script, skills
from foveal.envs.ur5e.shaping import potential
from foveal.errors import FovealError
from foveal.skills.actor_critic import RUN, ArmWork, learner
from foveal.skills.arms import Arms, ArmSettings
from foveal.skills.config import MasterConfig, clone_config, master_config, stored_master_config
from foveal.skills.flat import FlatPolicy, flat_config
from foveal.skills.groups import Deciding, Stepping
from foveal.skills.master import Master
from foveal.skills.networks import DepthHead, SkillHead, actor_critic
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.rollouts import play
from foveal.skills.seeds import CHOICE, EVALUATION, training
from foveal.skills.vector import GroupVector
from foveal.skills.view import View
from foveal.training import Trainer

ORACLE = Deciding(ArmSettings("pick", View(size=0)), 60, seed=0)


# --- groups ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_decision_runs_a_skill_to_its_end_and_episodes_begin_anew():
    group = ORACLE.make(0, 1)
    first = group.reset()
    steps = []
    for number in script("pick"):
        seen, rewards, ended, infos = group.step(np.array([number]))
        steps.append(infos[0]["steps"])
    group.close()
    assert ended[0] and rewards[0] == 10.0 and infos[0]["success"] and not infos[0]["truncated"]
    assert steps[:2] == [60, 60] and 0 < steps[2] <= 60
    assert infos[0]["final_obs"][8] == 1.0 and first[0, 8] == 0.0  # the cube is held
    other = replace(ORACLE).make(0, 1)
    other.reset()
    other._begin(0)  # the second episode
    np.testing.assert_array_equal(ORACLE.observe(other.arms), seen)
    other.close()


@pytest.mark.slow
def test_time_runs_out_after_the_tasks_steps():
    group = ORACLE.make(0, 1)
    group.reset()
    ends = [group.step(np.array([1])) for _ in range(4)]  # 200 steps
    group.close()
    assert [bool(ended[0]) for _, _, ended, _ in ends] == [False, False, False, True]
    info = ends[-1][3][0]
    assert info["steps"] == 20 and info["truncated"] and not info["success"] and ends[-1][1][0] == 0.0


@pytest.mark.slow
def test_masters_see_the_features_of_every_skill():
    policy = small_policy()
    settings = Deciding(policy.arm_settings, 2, 0, policy)
    observations, actions = settings.spaces
    assert observations.shape == policy.feature_shape and actions == spaces.Discrete(3)
    group = settings.make(0, 2)
    first = group.reset()
    np.testing.assert_allclose(first, policy.features(group.arms.frames()), atol=1e-5)
    group.step(np.array([0, 1]))
    assert group.arms.steps.tolist() == [2, 2]
    group.close()


@pytest.mark.slow
def test_processes_give_what_one_process_gives_and_leave_ctrl_c_to_their_parent():
    rows = []
    for workers in (1, 2):
        arms = GroupVector(ORACLE, 2, workers)
        found = [arms.reset()[0]]
        for group in arms._groups if workers > 1 else []:
            os.kill(group._process.pid, signal.SIGINT)
        for actions in ([2, 0], [0, 2], [1, 1]):
            seen, rewards, terminated, truncated, infos = arms.step(np.array(actions))
            found += [seen, rewards, terminated, truncated, infos["steps"]]
        rows.append(found)
    for one, other in zip(*rows, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(FovealError, match="IndexError"):  # of the processes, told here
        arms.step(np.array([9, 9]))
    arms.close()


def test_seeds_are_apart():
    assert len({training(s, a, e) for s in range(3) for a in range(9) for e in range(50)}) == 3 * 9 * 50
    assert CHOICE < EVALUATION < training(0, 0, 0)


# --- PPO ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lamps:
    """One of three lamps is lit, and pressing its button ends the episode well."""

    @property
    def spaces(self):
        return spaces.Box(-np.inf, np.inf, (3, 2, 2), np.float32), spaces.Discrete(3)

    def make(self, first, count):
        return _Lamps(first, count)


class _Lamps:
    def __init__(self, first, count):
        self.random, self.count = np.random.default_rng(first), count

    def reset(self):
        self.lit = self.random.integers(3, size=self.count)
        return self._seen()

    def step(self, actions):
        right = actions == self.lit
        infos = [
            {"steps": 60, "success": bool(won), "final_obs": seen, "truncated": False}
            for won, seen in zip(right, self._seen(), strict=True)
        ]
        return self.reset(), 10.0 * right.astype(np.float32), np.ones(self.count, bool), infos

    def _seen(self):
        return np.eye(3, dtype=np.float32)[self.lit][:, :, None, None] * np.ones((1, 1, 2, 2), np.float32)

    def close(self):
        pass


class Presser:
    """Learns which lamp is lit."""

    kind, what = "tests.presser", "presser"

    def __init__(self, config):
        self.config, self.ppo, self.curve = (
            config,
            learner(lambda: actor_critic(*Lamps().spaces, config.channels), config, 0),
            [],
        )

    steps = property(lambda self: self.ppo.steps)
    updates = property(lambda self: self.ppo.updates)

    def arms(self):
        return Lamps()


def trained(presser, actions):
    Trainer(ArmWork(presser), RUN, progress=False).train(actions)
    return presser.curve


@pytest.mark.slow
def test_ppo_learns_through_the_published_head():
    before = torch.get_rng_state()
    config = master_config("paper", {"channels": 8})
    presser = Presser(config)
    ppo, curve = presser.ppo, trained(presser, 1600)
    assert torch.equal(before, torch.get_rng_state())
    assert isinstance(ppo.policy.actor.body, SkillHead) and isinstance(ppo.policy.critic[0], SkillHead)
    assert ppo.policy.actor.body is not ppo.policy.critic[0]
    assert curve[0]["success"] < 0.7 and curve[-1]["success"] > 0.9
    assert curve[-1]["actions"] == 1600 and curve[-1]["steps"] == 96_000
    assert trained(Presser(config), 160) == curve[:2]


def test_arms_tell_what_gymnasiums_environments_tell():
    arms = GroupVector(Lamps(), 3)
    seen, _ = arms.reset()
    lit = seen[:, :, 0, 0].argmax(1)
    following, rewards, terminated, truncated, infos = arms.step(np.array([lit[0], lit[1], (lit[2] + 1) % 3]))
    assert rewards.tolist() == [10, 10, 0] and terminated.all() and not truncated.any()
    assert infos["success"].tolist() == [True, True, False] and infos["_success"].all() and infos["_final_obs"].all()
    np.testing.assert_array_equal(np.stack(list(infos["final_obs"])), seen)
    assert arms.observation_space.contains(following) and infos["steps"].tolist() == [60] * 3
    with pytest.raises(FovealError, match="belongs to their settings"):
        arms.reset(seed=1)


def test_ppo_on_every_step_is_as_stable_baselines_trains() -> None:
    """But for its value loss, which is the mean squared error: twice PPO's, which has a factor of 0.5."""
    config = flat_config(1000)
    assert (config.value_loss, config.value, config.normalise_advantages) == ("plain", 1.0, "minibatch")
    assert (config.decay_clip, config.decay_learning_rate, config.bootstrap_timeouts) == (False, False, True)
    assert (config.gradient_norm, config.adam_epsilon) == (0.5, 1e-5)


@pytest.mark.parametrize("preset", ["paper", "compact"])
def test_masters_losses_are_the_published_ones(preset: str) -> None:
    config = master_config(preset)
    assert (config.value_loss, config.value, config.normalise_advantages) == ("plain", 1.0, "rollout")
    assert (config.bootstrap_timeouts, config.gae_lambda, config.discount, config.clip) == (False, 1.0, 0.99, 0.2)


def test_masters_of_earlier_versions_keep_their_loss() -> None:
    saved = {**dataclasses.asdict(master_config("compact")), "value": 1.0}
    for setting in ("value_loss", "normalise_advantages", "bootstrap_timeouts"):
        del saved[setting]
    former = {"value": 2.0, "bootstrap_timeouts": True, "normalise_advantages": "minibatch"}
    assert stored_master_config(saved) == master_config("compact", former)
    ours = master_config("paper", {"value": 0.3})
    assert stored_master_config(dataclasses.asdict(ours)) == ours


@pytest.mark.parametrize("what", ["features", "state", "depth"])
def test_what_stable_baselines_trained_still_acts(what):
    """Weights under the names of its policies; its optimizer is left behind."""
    pytest.importorskip("stable_baselines3", reason='needs the extra "sb3"')
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    def extractor(module, size):
        class Extractor(BaseFeaturesExtractor):
            def __init__(self, space):
                super().__init__(space, size)
                for name, part in module.named_children():
                    setattr(self, name, part)

            def forward(self, seen):
                return module.forward(seen)

        return Extractor

    config = master_config("debug")
    if what == "depth":
        ours = FlatPolicy("pick", View(36, 36), config)
    else:
        ours = Master("pick", small_policy() if what == "features" else None, config)
    observations, actions = ours.arms().spaces
    options = {"normalize_images": False, "net_arch": []}
    if what == "depth":
        options["features_extractor_class"] = extractor(DepthHead(observations, 0.05), 512)
    elif what == "features":
        head = SkillHead(observations.shape[0], config.channels)
        options |= {"features_extractor_class": extractor(head, config.channels), "share_features_extractor": False}
    else:
        options = {}
    theirs = ActorCriticPolicy(observations, actions, lambda _: 1e-3, **options)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(0.01 * torch.randn(weight.shape))
    tensors, state = ours.state()
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith((f"{ours.what}/", "optimizer/"))}
    kept |= {f"{ours.what}/{name}": weight for name, weight in theirs.state_dict().items()}
    loaded = type(ours).from_state(kept, {**state, "optimizer": {}})
    for name, weight in loaded.network.state_dict().items():
        former = {
            "actor.body": "pi_features_extractor",
            "critic.0": "vf_features_extractor",
            "encoder.1": "features_extractor",
            "actor.linear": "action_net",
            "critic.1": "value_net",
            "actor.log_std": "log_std",
        }
        if what == "state":
            former |= {"actor.body": "mlp_extractor.policy_net", "critic.0": "mlp_extractor.value_net"}
        new = next(new for new in former if name.startswith(new))
        assert weight.equal(theirs.state_dict()[former[new] + name.removeprefix(new)]), name
    if what == "state":  # and the same network: its own layers compute what ours do
        seen = torch.randn(5, *observations.shape)
        with torch.no_grad():
            torch.testing.assert_close(loaded.network.values(seen), theirs.predict_values(seen)[:, 0])


def test_published_setup():
    config = MasterConfig()
    assert (config.learning_rate, config.epochs, config.minibatches, config.environments, config.rollout) == (
        *(7e-4, 5, 8, 8),
        10,
    )
    assert (config.discount, config.clip, config.entropy, config.value, config.gae_lambda) == (
        0.99,
        0.2,
        0.05,
        1.0,
        1.0,
    )
    assert (config.value_loss, config.normalise_advantages, config.bootstrap_timeouts) == ("plain", "rollout", False)
    assert config.batch_size == 10 and config.decisions * config.skill_steps == 480_000
    with pytest.raises(FovealError, match="must divide"):
        master_config("paper", {"minibatches": 7})


@pytest.mark.slow
def test_masters_survive_the_disk(tmp_path):
    policy = small_policy()
    master = Master("pick", policy, master_config("debug"), seed=1).learn()
    assert [point["actions"] for point in master.curve] == [4, 8]
    again = foveal.load(master.save(tmp_path / "master"))
    assert isinstance(again, Master)
    outcomes = [play(one.skills.arm_settings, one, one.skills, [1], skill_steps=100) for one in (master, again)]
    assert outcomes[0] == outcomes[1] and len(outcomes[0][0].chosen) == 2
    assert again.curve == master.curve
    held, kept = (one.ppo.optimizer.state_dict()["state"] for one in (again, master))
    assert held and all(torch.equal(held[key]["exp_avg"], kept[key]["exp_avg"]) for key in kept)
    with pytest.raises(FovealError, match=r"foveal\.skills"):
        Master.load(policy.save(tmp_path / "skills"))


@pytest.mark.slow
def test_learning_from_scratch_sees_depth_and_every_step(tmp_path):
    policy = FlatPolicy("pick", View(36, 36), master_config("debug"), seed=0)
    policy.learn()
    assert policy.curve[-1]["steps"] == 8
    again = foveal.load(policy.save(tmp_path / "flat"))
    assert isinstance(again, FlatPolicy) and again.curve == policy.curve
    with pytest.raises(FovealError, match="leave env and device out"):
        foveal.load(tmp_path / "flat", device="cuda")
    frames = np.random.default_rng(0).integers(500, 2000, (2, 3, 36, 36)).astype(np.uint16)
    again = pickle.loads(pickle.dumps(policy))
    np.testing.assert_array_equal(policy.act(frames, np.zeros(2)), again.act(frames, np.zeros(2)))
    group = Stepping(ArmSettings("pick", View(36, 36)), 3, 0.5, 2.0, 0).make(0, 1)
    seen = group.reset()
    assert seen.shape == (1, 3, 36, 36) and seen.min() >= -1.0 and seen.max() <= 1.0
    assert group.step(np.zeros((1, 4), np.float32))[3] == [{"steps": 1}]
    group.close()


@pytest.mark.slow
def test_shaped_rewards_telescope_to_the_tasks_own():
    """The discounted sum over an episode is that of the task less the potential at its beginning (Ng et al. 1999)."""
    discount, settings = 0.9, Stepping(ArmSettings("pick", View(8, 8)), 1, 0.5, 2.0, 0, shaping=0.9)
    group = settings.make(0, 1)
    group.reset()
    first, total, weight, ended = potential("pick", group.arms.envs[0].truth()), 0.0, 1.0, False
    while not ended:
        truth, number = group.arms.envs[0].truth(), script("pick")[group.arms.steps[0] // 60]
        _, rewards, (ended,), infos = group.step(skills("pick")[number].expert(truth).action[None])
        total, weight = total + weight * rewards[0], weight * discount
        if not ended:  # before the end, the sum is that of the potential alone
            reached = potential("pick", group.arms.envs[0].truth())
            assert total == pytest.approx(weight * reached - first, abs=1e-4)
    assert infos[0]["success"] and total == pytest.approx(weight / discount * 10.0 - first, abs=1e-4)
    plain = replace(settings, shaping=0.0).make(0, 1)
    plain.reset()
    assert plain.step(np.array([[0.0, 0.0, -1.0, -1.0]], np.float32))[1][0] == 0.0
    group.close(), plain.close()


def whole_task(pooling: str = "points") -> SkillPolicy:
    config = clone_config("debug", {"precision": "float32", "pooling": pooling, "stack": 2})
    policy = SkillPolicy(SkillSet("pick", ("the whole task",), View(32, 32)), config, seed=4)
    policy.mean, policy.spread = torch.tensor([0.1, -0.2, 0.0]), torch.tensor([0.5, 0.6, 0.7])
    with torch.no_grad():  # norms that have seen something
        for name, buffer in policy.network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(generator=torch.Generator().manual_seed(len(name)))
    return policy


@pytest.mark.parametrize("pooling", ["points", "average"])
@pytest.mark.slow
def test_ppo_from_cloning_begins_by_doing_what_was_cloned(tmp_path, pooling):
    cloned = whole_task(pooling)
    before = {name: weight.clone() for name, weight in cloned.network.state_dict().items()}
    policy = FlatPolicy.from_cloned(
        cloned, replace(flat_config(8, cloned=True), environments=2, rollout=4, minibatches=2)
    )
    frames = np.random.default_rng(0).integers(500, 2000, (5, 2, 32, 32)).astype(np.uint16)
    none = np.zeros(5, np.int64)
    wanted, found = cloned.act(frames, none), policy.act(frames, none)
    np.testing.assert_allclose(found[:, :3], wanted[:, :3], atol=1e-5)
    np.testing.assert_array_equal(np.sign(found[:, 3]), wanted[:, 3])
    policy.learn()
    assert np.abs(policy.act(frames, none) - found).max() > 1e-6  # it learns
    for name, weight in cloned.network.state_dict().items():
        assert torch.equal(weight, before[name])  # and what was cloned stays as it was
    norms = {name: value for name, value in policy.network.state_dict().items() if "running" in name}
    assert norms and all(
        torch.equal(value, before[name.removeprefix("encoder.1.network.")]) for name, value in norms.items()
    )
    again = foveal.load(policy.save(tmp_path / "flat"))
    np.testing.assert_array_equal(again.act(frames, none), policy.act(frames, none))
    assert (again.stack, again.cloning, again.shaped) == (2, cloned.config, False)
    with pytest.raises(FovealError, match="cloned as one skill, and these are 3"):
        FlatPolicy.from_cloned(small_policy(), flat_config(8))


def test_a_shaped_policy_remembers_that_it_is(tmp_path):
    policy = FlatPolicy("bowl", View(36, 36), master_config("debug"), shaped=True)
    assert policy.arms().shaping == policy.config.discount
    again = foveal.load(policy.save(tmp_path / "flat"))
    assert again.shaped and again.arms() == policy.arms()
    assert FlatPolicy("bowl", View(36, 36), master_config("debug")).arms().shaping == 0.0


# --- decisions ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_likeliest_is_done_or_decisions_are_drawn_as_likely_as_the_policy_says():
    master = Master("pick", None, master_config("debug"))
    arms = Arms(ArmSettings("pick", View(size=0)), 2)
    for index in range(2):
        arms.reset(index, 0)
    with torch.no_grad():
        master.network.actor.linear.weight.zero_()
        master.network.actor.linear.bias.copy_(torch.tensor([0.7, 0.2, 0.1]).log())
    assert master.choose(arms, np.arange(2), 5, [1, 2]).tolist() == [0, 0]  # as published
    plan = master.drawing()
    drawn = np.concatenate([plan.choose(arms, np.arange(2), i, [2 * i, 2 * i + 1]) for i in range(1000)])
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), [0.7, 0.2, 0.1], atol=0.03)
    again = [plan.choose(arms, np.array([place]), 3, [seed])[0] for place, seed in ((0, 7), (1, 6))]
    assert again == [drawn[7], drawn[6]]  # whatever else is decided beside it
    arms.close()


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demos", "colect"], "unknown command 'demos colect': did you mean 'collect'"),
        (["skills", "trian", "x"], "did you mean 'train'"),
        (["skills", "train", "nowhere"], "holds no demonstrations"),
        (["master", "train", "ur5e/bowl", "--skills", "nowhere"], "nowhere"),
        (["demos", "collect", "bowl", "--preset", "papr"], "did you mean 'paper'"),
    ],
)
def test_mistakes_get_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


@pytest.mark.slow
def test_commands_from_demonstrations_to_a_master(tmp_path, capsys):
    demos, skills, master = (str(tmp_path / name) for name in ("demos", "skills", "master"))
    common = ["--preset", "debug", "--workers", "1"]
    assert main(["demos", "collect", "ur5e/pick", "--out", demos, *common, "--size", "32", "--render", "40"]) == 0
    assert main(["skills", "train", demos, "--out", skills, *common, "--epochs", "1", "--rollouts", "1"]) == 0
    assert main(["master", "train", "ur5e/pick", "--skills", skills, "--out", master, *common]) == 0
    assert Master.load(master).skills.skill_set.view == View(32, 40)
    assert main(["master", "train", "ur5e/bowl", "--skills", skills, *common]) == 2
    assert "holds skills of 'pick'" in capsys.readouterr().err
