"""What numbers come to: what is left, what is sure, who is blind, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from foveal.auditing.blindness import REPLACEMENTS
from foveal.auditing.conditions import CHANCE, CLEAN, Condition, blindness, conditions
from foveal.auditing.judging import BESIDE_THE_POINT, judged, summarized, verdict
from foveal.auditing.results import DRIFT, RETURN, SUCCESS, Audit, Curve, Point, point
from foveal.auditing.trials import Path, Trial
from foveal.errors import FovealError

CHANCES = point(Condition(CHANCE), [2.0] * 5, RETURN)
WHOLE = point(Condition(CLEAN), [10.0, 10.0, 12.0, 10.0, 8.0], RETURN)


def made(values: Sequence[float], name: str = "noise", severity: int | None = 3) -> Point:
    return judged(point(Condition(name, severity), values, RETURN), WHOLE, CHANCES, RETURN)


def test_what_is_kept_lies_between_chance_and_the_picture_as_it_is() -> None:
    assert made([10.0, 10.0, 12.0, 10.0, 8.0]).kept == 1.0
    assert made([2.0] * 5).kept == 0.0
    assert made([6.0] * 5).kept == 0.5 and not made([6.0] * 5).broken
    assert made([5.9] * 5).broken


def test_a_loss_is_sure_where_the_differences_episode_by_episode_are() -> None:
    assert made([9.9, 9.9, 11.9, 9.9, 7.9]).sure  # always a little less, though the intervals overlap
    assert not made([12.0, 10.0, 8.0, 10.0, 10.0]).sure
    few = judged(
        point(Condition("noise", 3), [0.0] * 4, RETURN), point(Condition(CLEAN), [9.0] * 4, RETURN), CHANCES, RETURN
    )
    assert few.kept is not None and not few.sure


def test_a_policy_that_does_no_better_than_chance_has_nothing_to_lose() -> None:
    bad = point(Condition(CLEAN), [2.0, 1.0, 3.0, 2.0, 2.0], RETURN)
    assert judged(point(Condition("noise", 1), [0.0] * 5, RETURN), bad, CHANCES, RETURN).kept is None


def test_intervals_are_wilsons_of_success_and_bootstraps_of_returns() -> None:
    assert (point(Condition(CLEAN), [1.0] * 5, SUCCESS).low, point(Condition(CLEAN), [1.0] * 5, RETURN).low) == (
        pytest.approx(0.5655, abs=1e-3),
        1.0,
    )


# --- who is blind -----------------------------------------------------------------------------------------------------


def blind(*returns: float) -> list[Point]:
    return [made([value] * 5, name, None) for name, value in zip(REPLACEMENTS, returns, strict=True)]


@pytest.mark.parametrize(
    ("returns", "word"),
    [
        ((2.0, 2.0, 2.0, 2.0), "looks"),
        ((10.0, 10.0, 10.0, 10.0), "blind"),
        ((2.0, 2.0, 10.0, 2.0), "blind"),  # whoever succeeds with a still picture needs no other
        ((8.9, 2.0, 2.0, 2.0), "looks"),
        ((9.19, 2.0, 2.0, 2.0), "unclear"),  # a loss that is not sure
    ],
)
def test_whoever_succeeds_under_one_replacement_does_not_need_the_camera(returns: tuple[float, ...], word: str) -> None:
    found = blind(*returns)
    if word == "unclear":
        found[0] = replace(found[0], kept=0.85, sure=False)
    elif returns[0] == 8.9:
        found[0] = replace(found[0], sure=True)
    assert verdict(found, RETURN) == word


def test_too_few_episodes_tell_nothing() -> None:
    few = [replace(one, values=one.values[:4]) for one in blind(2.0, 2.0, 2.0, 2.0)]
    assert verdict(few, RETURN) == "unclear"
    assert verdict([], RETURN) == "unclear"


def test_on_frames_whoever_never_moves_is_blind() -> None:
    def drift(value: float) -> list[Point]:
        return [judged(point(one, [value] * 6, DRIFT), WHOLE, None, DRIFT) for one in blindness()]

    assert verdict(drift(0.0), DRIFT) == "blind"
    assert verdict(drift(0.8), DRIFT) == "looks"
    assert verdict([*drift(0.8)[:3], *drift(0.0)[:1]], DRIFT) == "unclear"


# --- sentences --------------------------------------------------------------------------------------------------------


def an_audit(*points: Point, word: str = "looks", measure: str = RETURN, shield: str | None = None) -> Audit:
    returns = {"looks": (2.0, 2.0, 2.0, 3.0), "blind": (10.0, 10.0, 10.0, 10.0), "unclear": (9.0, 9.0, 9.0, 9.0)}[word]
    whole = judged(WHOLE, WHOLE, CHANCES, RETURN)
    return Audit(
        policy={"kind": "a policy"},
        place="Somewhere",
        measure=measure,
        unit="episodes",
        seed=0,
        clean=(whole,),
        chance=CHANCES,
        points=points,
        blind=tuple(blind(*returns)),
        shield=shield,
        verdict=word,
    )


def test_three_sentences_say_whether_it_looks_what_breaks_it_and_how_sure_that_is() -> None:
    points = [
        made([9.5] * 5, "blur", 1),
        made([4.0] * 5, "blur", 3),
        made([9.8] * 5, "hue", 1),
        made([3.0] * 5, "fog", 1),
    ]
    looking, breaking, certainty = summarized(an_audit(*points))
    assert (
        looking == "It looks at its camera: with that replaced it keeps 12 % of what it is worth at most (elsewhere)."
    )
    assert breaking == (
        "2 of 3 changes take half or more of what it is worth, first fog at severity 1 (12 % left), blur at severity 3 "
        "(25 % left)."
    )
    assert certainty.startswith("Each point is 5 episodes, the same for all: return 10 with the picture as it is")
    assert certainty.endswith("the loss is told apart from chance at 2 of 4 points.")


def test_sentences_of_the_blind_and_of_the_unclear() -> None:
    hue = made([9.8] * 5, "hue", 1)
    assert summarized(an_audit(hue, word="blind"))[0].startswith(
        "It is blind: with its camera replaced (noise) it keeps 100 %"
    )
    assert "is unclear" in summarized(an_audit(hue, word="unclear"))[0]
    assert summarized(an_audit(hue))[1] == (
        "The one change tried does not take half of what it is worth; the worst, hue:1, leaves 98 %."
    )
    assert summarized(an_audit())[1] == "No change of the picture was tried."


def test_a_true_map_of_a_blind_policy_is_said_to_be_beside_the_point() -> None:
    areas = Path(np.array([0.0, 1.0]), np.zeros((5, 2)), np.ones((5, 2)), np.full(5, 0.5), np.full(5, 0.5))
    unclear = Trial("gradient", "q1", {"value": areas}, {"value": areas}, layers=(), likeness=())
    blind_one, seeing = (replace(an_audit(word=word), maps=(unclear,)) for word in ("blind", "looks"))
    assert summarized(blind_one)[2] == summarized(seeing)[2] + BESIDE_THE_POINT


def test_what_a_shield_saves_is_counted() -> None:
    bare, behind = made([3.0] * 5, "fog", 1), made([9.0] * 5, "fog", 1)
    shielded = replace(behind, condition=Condition("fog", 1, True))
    assert summarized(an_audit(bare, shielded, shield="a shield"))[1].endswith(
        "Behind the shield it is 0 instead of 1."
    )


def test_curves_come_weakest_first_by_where_they_break_and_then_by_what_is_left() -> None:
    points = [
        *(made([value] * 5, "late", severity) for severity, value in ((1, 10.0), (3, 9.0), (5, 3.0))),
        *(made([value] * 5, "early", severity) for severity, value in ((1, 4.0), (3, 4.0), (5, 4.0))),
        *(made([value] * 5, "never", severity) for severity, value in ((1, 10.0), (3, 10.0), (5, 7.0))),
    ]
    curves = an_audit(*points).curves()
    assert [curve.change for curve in curves] == ["early", "late", "never"]
    assert [None if curve.broke is None else curve.broke.condition.severity for curve in curves] == [1, 5, None]
    assert Curve("never", tuple(points[6:])).weakness[0] == float("inf")


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_by_default_every_change_that_is_possible_is_tried_at_every_severity() -> None:
    plain, with_masks = (conditions(None, [5, 1], masks=masks) for masks in (False, True))
    assert {one.change for one in with_masks} - {one.change for one in plain} == {
        "background",
        "background_flicker",
        "background_pan",
        "background_part",
        "recolor",
    }
    assert [one.severity for one in plain[:2]] == [1, 5]
    usual = conditions(None, [3], masks=False, usual=["color_hard"], possible=["color_hard"])
    assert usual[-1] == Condition("color_hard") and usual[-1].perturbation == "color_hard"


@pytest.mark.parametrize(
    ("changes", "severities", "said"),
    [
        (["nois"], [1], "unknown change 'nois': did you mean 'noise'"),
        (["noise:3"], [1], "name changes without a severity, noise"),
        (["noise", "noise"], [1], "named twice"),
        (["background"], [1], r"agent_mask\(\)"),
        (["color_hard"], [1], "simulator of foveal's own"),
        (["noise"], [0], "from 1 to 5, not 0"),
        (["noise"], [6], "from 1 to 5, not 6"),
        (["noise"], [], "no severities"),
        (["noise"], [2, 2], "named twice"),
    ],
)
def test_what_cant_be_tried_is_refused(changes: list[str], severities: list[int], said: str) -> None:
    with pytest.raises(FovealError, match=said):
        conditions(changes, severities, masks=False)
