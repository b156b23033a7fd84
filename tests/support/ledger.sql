-- name: ledger_rows
-- Every trial with its run's id, for reconciliation.
select run.run_id, trial.trial_id, trial.revision, trial.status, trial.metrics
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id

-- name: ledger_counts
-- Counts of trials that are not what the rows come to: none.
with rows as (
    select to_timestamp(floor(extract(epoch from inserted_at) / 1800) * 1800)::text as at, spectral_norm,
           case when spectral_norm_reported is null then schema_version is null or schema_version = 1
                else not spectral_norm_reported end as defaulted
    from cerebros_model_trials
), run_counts as (
    select model_run_id, status, spectral_norm, trials, duration_ms from cerebros_run_counts
    union all
    select model_run_id, status, spectral_norm, trials, duration_ms from cerebros_count_changes
    where model_run_id is not null
), time_counts as (
    select at, spectral_norm, defaulted, trials from cerebros_time_counts
    union all
    select at, spectral_norm, defaulted, trials from cerebros_count_changes where at is not null
)
(select model_run_id::text as what, status, spectral_norm, count(*) as trials, sum(coalesce(duration_ms, 0)) as ms
 from cerebros_model_trials group by 1, 2, 3
 except select model_run_id::text, status, spectral_norm, sum(trials), sum(duration_ms) from run_counts
 group by 1, 2, 3)
union all
(select model_run_id::text, status, spectral_norm, sum(trials), sum(duration_ms)
 from run_counts group by 1, 2, 3 having sum(trials) <> 0
 except select model_run_id::text, status, spectral_norm, count(*), sum(coalesce(duration_ms, 0))
 from cerebros_model_trials group by 1, 2, 3)
union all
(select at, defaulted::text, spectral_norm, count(*), 0 from rows group by 1, 2, 3
 except select at::text, defaulted::text, spectral_norm, sum(trials), 0 from time_counts group by 1, 2, 3)
union all
(select at::text, defaulted::text, spectral_norm, sum(trials), 0
 from time_counts group by 1, 2, 3 having sum(trials) <> 0
 except select at, defaulted::text, spectral_norm, count(*), 0 from rows group by 1, 2, 3)

-- name: ledger_dead_letters
-- How many rejections are stored.
select count(*) as count from dead_letters

-- name: ledger_runs
-- Every run that has said anything of its life.
select run.run_id, run.state, run.requested_trials, run.completed_trials, max(told.revision) as revision
from cerebros_run_reports told join cerebros_model_runs run on run.id = told.model_run_id
group by run.id, run.run_id, run.state, run.requested_trials, run.completed_trials

-- name: ledger_metrics
-- Every metric at a step.
select run.run_id, one.trial_id, one.metric, one.step, one.value
from cerebros_trial_metrics one join cerebros_model_runs run on run.id = one.model_run_id

-- name: ledger_starts
-- Every trial that said that it started.
select run.run_id, one.trial_id, one.spectral_norm
from cerebros_trial_progress one join cerebros_model_runs run on run.id = one.model_run_id
where one.started_at is not null
