"""A comparison as a whole: what it counts, what it says it left out, when it refuses, and what it costs."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import msgspec
import numpy as np
import pytest

from processor.dashboard.statistics.compare import MOST_ARMS, UnknownArm, compare
from processor.dashboard.statistics.directions import guess_direction
from processor.dashboard.statistics.results import Comparison
from processor.dashboard.statistics.sample import FAILED, OTHER, Parameter, Sample
from tests.unit.dashboard.samples import sample


def compared(trials: Sample, **options: Any) -> Comparison:
    return compare(trials, **{"parameter": "spectral_norm", "metric": "accuracy", **options})


def some(count: int = 120, seed: int = 0) -> Sample:
    random = np.random.default_rng(seed)
    return sample(random.random(count) < 0.5, random.normal(size=count))


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for one in value.values() for number in numbers(one)]
    if isinstance(value, list):
        return [number for one in value for number in numbers(one)]
    return [value] if isinstance(value, float) else []


@pytest.mark.parametrize("count", [0, 1, 2, 9, 30, 300])
def test_a_comparison_of_any_size_is_json_with_finite_numbers(count: int) -> None:
    document = json.loads(msgspec.json.encode(compared(some(count))))
    assert all(math.isfinite(number) for number in numbers(document))
    assert document["trials"] == count


def test_extreme_values_are_counted_and_break_nothing() -> None:
    trials = some(200)
    values = trials.value.copy()
    values[:40] = np.tile([1.7e308, -1.7e308, 5e-324, math.inf, -math.inf, math.nan, 0.0, -0.0], 5)
    found = compared(trials._replace(value=values))
    assert sum(arm.not_finite for arm in found.arms) == 15
    assert all(math.isfinite(number) for number in numbers(json.loads(msgspec.json.encode(found))))


def test_every_trial_that_is_in_no_figure_of_values_is_counted_with_a_reason() -> None:
    trials = some(400)
    ending = np.zeros(400, dtype=np.int64)
    ending[:30], ending[30:50] = FAILED, OTHER
    value, has_value, arm = trials.value.copy(), trials.has_value.copy(), trials.arm.copy()
    value[50:57], has_value[60:70], arm[80:85] = math.nan, False, -1
    found = compared(trials._replace(ending=ending, value=value, has_value=has_value, arm=arm))
    assert sum(arm.finite for arm in found.arms) + sum(one.count for one in found.left_out) == 400
    assert sum(one.count for one in found.left_out if "failed" in one.why) == 30
    assert sum(one.count for one in found.left_out if "lacks the parameter" in one.why) == 5
    for arm_ in found.arms:
        assert arm_.trials == arm_.succeeded + arm_.failed + arm_.other
        assert arm_.succeeded == arm_.finite + arm_.not_finite + arm_.missing


def test_trials_whose_arm_was_only_defaulted_are_told_and_can_be_left_out() -> None:
    trials = some(100)._replace(defaulted=np.arange(100) < 12)
    assert any("12 trials never reported" in note for note in compared(trials).notes)
    without = compared(trials, leave_out_defaulted=True)
    assert sum(arm.trials for arm in without.arms) == 88
    assert [one.count for one in without.left_out if "default" in one.why] == [12]


def test_a_contrast_is_the_same_to_the_last_digit_whatever_other_arms_there_are() -> None:
    random = np.random.default_rng(1)
    arm = random.integers(0, 4, 400)
    trials = sample(arm, random.normal(size=400) + arm, run=random.integers(0, 3, 400), arms=("a", "b", "c", "d"))
    trials = trials._replace(parameters=(Parameter("lr", numbers=random.random(400)),))
    everything = compared(trials, reference="a", better="higher")
    alone = compared(trials.of((arm == 0) | (arm == 2)), reference="a", better="higher")
    (among,) = (one for one in everything.contrasts if one.other == "c")
    assert among == alone.contrasts[0]
    assert alone.adjusted_p == (alone.contrasts[0].deciding_p,)
    known = [one.deciding_p for one in everything.contrasts if one.deciding_p is not None]
    assert all(one is not None and one >= p for one, p in zip(everything.adjusted_p, known, strict=True))
    assert max(known) == max(one for one in everything.adjusted_p if one is not None)


def test_several_comparisons_are_counted_in_the_p_values_that_their_verdicts_go_by() -> None:
    """Where the runs decide that is theirs: as if of one run, three thousand trials are as good as certain."""
    random = np.random.default_rng(3)
    arm, run = random.integers(0, 3, 3000), random.integers(0, 6, 3000)
    of_run = random.normal(0, 0.5, (3, 6))
    found = compared(sample(arm, random.normal(size=3000) + of_run[arm, run], run=run, arms=("a", "b", "c")))
    assert [one.decided_by for one in found.contrasts] == ["runs", "runs"]
    pooled = [one.per_run.pooled.p for one in found.contrasts if one.per_run.pooled is not None]
    smaller, larger = sorted(p for p in pooled if p is not None)
    expected = {larger: larger, smaller: min(2 * smaller, larger)}
    assert found.adjusted_p == tuple(expected[p] for p in pooled if p is not None)


def test_swapped_arms_give_the_mirrored_effect() -> None:
    one, other = (compared(some(), reference=name).contrasts[0].effect for name in ("false", "true"))
    assert one.shift.estimate == pytest.approx(-(other.shift.estimate or 0))
    assert one.shift.low == pytest.approx(-(other.shift.high or 0))
    assert one.superiority.estimate == pytest.approx(1 - (other.superiority.estimate or 0))
    assert one.p == pytest.approx(other.p)


def test_arms_that_never_meet_are_refused_an_adjusted_figure() -> None:
    random = np.random.default_rng(2)
    run = np.repeat([0, 1], 60)
    (contrast,) = compared(sample(run, random.normal(size=120), run=run)).contrasts
    assert contrast.stratified.refused is not None
    assert contrast.stratified.superiority is None
    assert contrast.per_run.pooled is None
    assert contrast.stratified.refused in contrast.warnings


def test_below_ten_values_in_an_arm_there_is_no_interval() -> None:
    (contrast,) = compared(sample([0] * 50 + [1] * 9, np.arange(59.0))).contrasts
    effect = contrast.effect
    assert effect.shift.estimate is not None
    assert (effect.shift.low, effect.superiority.low, effect.mean_difference.low, effect.p) == (None,) * 4
    assert "too few values" in contrast.verdict


def test_leaving_out_what_crashed_does_not_favour_the_arm_that_crashes() -> None:
    random = np.random.default_rng(3)
    trials = some(400)
    ending = np.where((trials.arm == 1) & (random.random(400) < 0.5), FAILED, 0)
    (contrast,) = compared(trials._replace(ending=ending), better="higher").contrasts
    worst = contrast.effect.worst_rank
    assert contrast.verdict == "no difference is shown"
    assert worst is not None
    assert worst.high is not None
    assert worst.high < 0.5
    assert contrast.failures.difference.low is not None
    assert contrast.failures.difference.low > 0.3


def test_a_page_that_is_looked_at_all_day_shows_no_p_value_and_a_wider_interval() -> None:
    fixed, always = (compared(some(), validity=validity).contrasts[0].effect for validity in ("fixed", "always"))
    assert fixed.p is not None
    assert always.p is None
    assert (always.shift.low or 0) < (fixed.shift.low or 0)


def test_a_direction_that_nobody_knows_leaves_better_unsaid() -> None:
    (contrast,) = compared(some(), metric="quux").contrasts
    assert contrast.effect.worst_rank is None
    assert contrast.budget.points == ()


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("accuracy", "higher"), ("val_accuracy", "higher"), ("valAccuracy", "higher"), ("loss", "lower"),
        ("val/loss", "lower"), ("accuracy_loss", "lower"), ("neg_mean_squared_error", "higher"), ("RMSE", "lower"),
        ("false_positive_rate", "lower"), ("true_positive_rate", "higher"), ("f1", "higher"), ("r2_score", "higher"),
        ("negative_class_accuracy", "higher"), ("non_negative_loss", "lower"), ("negative_log_likelihood", "lower"),
        ("neg_brier_score", "higher"), ("mAP50", "higher"), ("ROCAUC", "higher"),
        ("neg_root_mean_squared_error", "higher"),
        ("R2", "higher"), ("quux", "unknown"), ("", "unknown"), ("training time", "lower"), ("glossary", "unknown"),
    ],
)  # fmt: skip
def test_which_values_are_better_is_guessed_from_words(metric: str, better: str) -> None:
    assert guess_direction(metric).better == better


def test_a_guess_is_told_as_one_and_a_choice_as_a_choice() -> None:
    assert "guessed" in compared(some()).direction.because
    assert compared(some(), better="lower").direction.because == "chosen"


def test_arms_beyond_eight_are_counted() -> None:
    names = tuple(f"arm-{code}" for code in range(12))
    found = compared(sample(np.arange(600) % 12, np.arange(600.0), arms=names))
    assert len(found.arms) == MOST_ARMS
    assert sum(one.count for one in found.left_out if "largest" in one.why) == 600 - sum(a.trials for a in found.arms)


def test_several_runs_without_any_finite_value_have_no_effect_and_no_error() -> None:
    found = compared(sample(np.arange(40) % 2, np.full(40, np.nan), run=np.arange(40) // 20, runs=("a", "b")))
    (contrast,) = found.contrasts
    assert (contrast.per_run.effects, contrast.per_run.pooled, contrast.per_run.runs_with_both) == ((), None, 0)
    assert contrast.verdict == "an arm has no finite value"


def test_what_is_counted_is_one_run_or_several() -> None:
    """Of three runs with both arms one or two have enough values for an interval."""
    for large in (1, 2):
        run = np.repeat([0, 1, 2], [120 if one < large else 4 for one in range(3)])
        value = np.random.default_rng(1).normal(size=len(run))
        notes = " ".join(compared(sample(np.arange(len(run)) % 2, value, run=run)).contrasts[0].per_run.notes)
        assert ("1 run has at least" if large == 1 else "2 runs have at least") in notes
        assert ("2 runs have too few" if large == 1 else "1 run has too few") in notes


def test_an_arm_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(UnknownArm, match="no arm 'maybe': the arms are false, true"):
        compared(some(), reference="maybe")


def seconds(count: int, runs: int) -> float:
    random = np.random.default_rng(4)
    trials = sample(random.random(count) < 0.5, random.normal(size=count), run=random.integers(0, runs, count))
    began = time.process_time()
    compared(trials)
    return time.process_time() - began


@pytest.mark.parametrize("runs", [1, 200])
def test_cost_grows_as_the_trials_do(runs: int) -> None:
    """The pairs of 200,000 trials are 10,000,000,000; made one by one they would take minutes, and 80 GB."""
    assert seconds(200_000, runs) < max(2.0, 15 * seconds(20_000, runs))


def test_a_parameter_that_no_trial_has_compares_nothing_and_says_so() -> None:
    found = compared(sample([-1] * 5, np.arange(5.0), arms=()))
    assert (found.arms, found.contrasts) == ((), ())
    assert [(one.count, one.why) for one in found.left_out] == [(5, "the trial lacks the parameter")]


def test_one_arm_alone_is_described_and_compared_to_nobody() -> None:
    found = compared(sample([1] * 20, np.arange(20.0)))
    assert [arm.arm for arm in found.arms] == ["true"]
    assert found.contrasts == ()


def test_parameters_to_match_on_are_chosen_by_the_caller_or_by_their_imbalance() -> None:
    random = np.random.default_rng(5)
    arm = np.arange(400) % 2
    other = (
        Parameter("even", numbers=random.random(400)),
        Parameter("uneven", numbers=random.random(400) + arm),
        Parameter("apart", levels=arm.astype(np.int64)),
    )
    trials = sample(arm, random.normal(size=400))._replace(parameters=other)
    (by_itself,), (chosen,) = (compared(trials, matched=names).contrasts for names in (None, ["even"]))
    assert by_itself.stratified.by == ("run", "phase of the run", "uneven")
    assert chosen.stratified.by == ("run", "phase of the run", "even")
    assert [one.parameter for one in by_itself.balance if one.marked] == ["apart", "uneven"]
    (refused,) = compared(trials, matched=["apart"]).contrasts
    assert "apart" in (refused.stratified.refused or "")


def with_parameters(count: int, looked: np.ndarray[Any, Any] | None) -> Sample:
    """Arms that differ in `lr`, which moves the value, and in nothing else."""
    random = np.random.default_rng(7)
    arm = (random.random(count) < 0.5).astype(np.int64)
    rate = random.normal(size=count) + 0.8 * arm
    trials = sample(arm, rate + random.normal(size=count), ending=(random.random(count) < 0.1).astype(np.int64))
    told = np.ones(count, dtype=bool) if looked is None else looked
    parameters = (
        Parameter("lr", numbers=rate[told]),
        Parameter("optimizer", levels=random.integers(0, 3, count)[told]),
    )
    return trials._replace(parameters=parameters, looked=looked)


def test_with_parameters_of_a_sample_alone_all_other_figures_are_of_all_trials() -> None:
    looked = np.random.default_rng(3).random(4000) < 0.25
    (whole,), (some_of_it,) = (compared(with_parameters(4000, one)).contrasts for one in (None, looked))
    for name in ("effect", "budget", "per_run", "verdict"):
        assert getattr(some_of_it, name) == getattr(whole, name)
    assert some_of_it.failures.reference == whole.failures.reference
    assert some_of_it.failures.difference == whole.failures.difference
    assert whole.stratified.by == some_of_it.stratified.by == ("run", "phase of the run", "lr")
    matched = some_of_it.stratified.matched_reference + some_of_it.stratified.matched_other
    assert 800 < matched <= looked.sum()
    # it is what a comparison of the sample alone says of it, no more and no less
    alone = compared(with_parameters(4000, looked).detailed())
    assert some_of_it.balance == alone.contrasts[0].balance
    assert some_of_it.stratified == alone.contrasts[0].stratified
    assert some_of_it.failures.stratified == alone.contrasts[0].failures.stratified
    raw, adjusted = whole.stratified.mean_difference, some_of_it.stratified.mean_difference
    assert raw is not None
    assert adjusted is not None
    assert adjusted.low is not None
    assert adjusted.high is not None
    assert adjusted.low < (raw.estimate or 0.0) < adjusted.high
    assert not any("unmatched" in one for one in some_of_it.warnings)


def test_a_sample_of_the_parameters_is_told_and_follows_what_is_left_out() -> None:
    looked = np.random.default_rng(3).random(4000) < 0.25
    trials = with_parameters(4000, looked)
    assert not any("random sample" in note for note in compared(with_parameters(4000, None)).notes)
    assert any(f"random sample of {looked.sum()} of" in note for note in compared(trials).notes)
    arm = trials.arm.copy()
    arm[:1000] = -1
    found = compared(trials._replace(arm=arm))
    assert any(f"random sample of {looked[1000:].sum()} of" in note for note in found.notes)
    rest = compared(trials.of(np.arange(4000) >= 1000)).contrasts[0]
    assert found.contrasts[0].balance == rest.balance


def test_arms_that_are_alike_are_stratified_by_all_trials() -> None:
    looked = np.random.default_rng(3).random(4000) < 0.25
    trials = with_parameters(4000, looked)
    alike = trials._replace(parameters=trials.parameters[1:])
    (found,) = compared(alike).contrasts
    assert found.stratified.by == ("run", "phase of the run")
    assert found.stratified.matched_reference + found.stratified.matched_other == int(trials.finite.sum())


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1.0, 1e80, 1e160, 1e300])
@pytest.mark.parametrize("validity", ["fixed", "always"])
def test_one_value_that_exploded_takes_no_figure_of_the_others_away(scale: float, validity: Any) -> None:
    """Squares of such values are no doubles; a diverged loss is what the page is for."""
    random = np.random.default_rng(8)
    value = random.normal(size=240)
    value[7] = value[150] = scale
    arm, run = random.random(240) < 0.5, np.repeat([0, 1, 2], 80)
    trials = sample(arm, value, run=run)._replace(parameters=(Parameter("lr", numbers=value[::-1]),))
    (found,) = compared(trials, validity=validity).contrasts
    assert found.effect.shift.low is not None
    assert found.effect.superiority.low is not None
    assert found.per_run.pooled is not None
    assert all(math.isfinite(one) for one in numbers(msgspec.to_builtins(found)))
    scaled = sample(arm, np.clip(value * scale, -1e308, 1e308), run=run)
    assert compared(scaled, validity=validity).contrasts[0].per_run.runs_with_both == 3


@pytest.mark.parametrize("precise", [1e-8, 1e-12, 1e-150])
def test_a_run_that_is_precise_beyond_all_others_ends_no_comparison(precise: float) -> None:
    """One has converged, the others jump: the share of all others was lost in the difference of two large numbers."""
    random = np.random.default_rng(5)
    arm, run = random.random(300) < 0.5, np.repeat(np.arange(6), 50)
    value = random.normal(size=300) * np.where(run == 0, precise, 1.0)
    (found,) = compared(sample(arm, value, run=run)).contrasts
    assert found.per_run.runs_with_both == 6
    assert all(math.isfinite(one) for one in numbers(msgspec.to_builtins(found)))


def test_few_runs_that_weigh_most_are_told() -> None:
    random = np.random.default_rng(6)
    run = np.repeat(np.arange(6), (40, 40, 40, 40, 40, 2000))
    arm, value = random.random(2200) < 0.5, random.normal(size=2200)
    (found,) = compared(sample(arm, value, run=run)).contrasts
    assert found.per_run.pooled is not None
    assert 1 <= found.per_run.pooled.freedom < 3
    assert any("a few of these 6 runs weigh most" in note for note in found.per_run.notes)
    (even,) = compared(sample(arm[:240], value[:240], run=np.repeat(np.arange(6), 40))).contrasts
    assert not any("weigh most" in note for note in even.per_run.notes)


def test_the_shift_is_the_median_of_all_differences_where_values_tie_however_many_there_are() -> None:
    for count in (100, 300, 1000):
        arm = np.repeat([0, 1], count)
        value = np.concatenate([np.zeros(count), np.tile([0.0, 1.0], count // 2)])
        shifts = [
            compared(sample(arm, value), reference=one).contrasts[0].effect.shift.estimate for one in ("false", "true")
        ]
        assert shifts == [0.5, -0.5]


def test_trials_of_one_moment_are_in_one_phase_in_whatever_order_they_are_read() -> None:
    random = np.random.default_rng(9)
    arm, value = random.random(200) < 0.5, random.normal(size=200)
    order = np.repeat([1.0, 2.0, 2.0, 3.0], 50)
    read = [random.permutation(200) for _ in range(5)]
    found = [compared(sample(arm[one], value[one], order=order[one])).contrasts[0].stratified for one in read]
    assert {one.strata for one in found} == {3}
    assert len({f"{one.mean_difference.estimate:.9f}" for one in found if one.mean_difference}) == 1


def test_arms_that_don_t_overlap_within_strata_are_no_surer_than_they_are_without() -> None:
    arm = np.repeat([0, 1], 12)
    (found,) = compared(sample(arm, np.arange(24.0) + 100 * arm, order=np.zeros(24))).contrasts
    assert found.stratified.superiority == found.effect.superiority
    assert found.effect.superiority.low == pytest.approx(0.025 ** (1 / 12))


def test_a_difference_of_shares_within_strata_is_that_of_newcombe_and_stays_one() -> None:
    arm = np.repeat([0, 1], [13, 13])
    ending = np.r_[np.zeros(13), np.ones(12), 0].astype(np.int64)
    (found,) = compared(sample(arm, np.arange(26.0), ending=ending, order=np.zeros(26))).contrasts
    assert found.failures.stratified is not None
    pairs = zip(
        msgspec.structs.astuple(found.failures.stratified),
        msgspec.structs.astuple(found.failures.difference),
        strict=True,
    )
    assert all(mine == pytest.approx(raw) for mine, raw in pairs)
    assert (found.failures.stratified.high or 2) <= 1
    run = np.random.default_rng(1).integers(0, 3, 26)
    (found,) = compared(sample(arm, np.arange(26.0), ending=np.array(arm), run=run)).contrasts
    assert found.failures.stratified is not None
    assert found.failures.stratified.low is not None
    assert found.failures.stratified.low > 0
    assert found.failures.stratified.high == 1


def test_values_too_rare_to_be_an_arm_are_not_said_to_lack_the_parameter() -> None:
    arm = np.array([0] * 20 + [1] * 20 + [-1] * 3 + [-2] * 5)
    told = {one.why: one.count for one in compared(sample(arm, np.arange(48.0))).left_out}
    assert told["the trial lacks the parameter"] == 3
    assert told["its value is none of the most frequent 50"] == 5


def test_strata_that_are_apart_in_opposite_directions_are_no_certainty() -> None:
    run, arm = np.repeat([0, 1], 24), np.tile(np.repeat([0, 1], 12), 2)
    (found,) = compared(sample(arm, np.arange(48.0) + 100 * arm * (1 - 2 * run), run=run, order=np.zeros(48))).contrasts
    adjusted = found.stratified.superiority
    assert adjusted is not None
    assert adjusted.low is not None
    assert adjusted.high is not None
    assert adjusted.estimate == pytest.approx(0.5)
    assert adjusted.low < 0.45
    assert adjusted.high > 0.55


def test_values_that_are_all_the_same_are_no_certainty_either() -> None:
    (found,) = compared(sample(np.repeat([0, 1], 12), np.ones(24))).contrasts
    assert found.effect.superiority.low is not None
    assert found.effect.superiority.low < 0.4
    assert found.verdict == "no difference is shown"
