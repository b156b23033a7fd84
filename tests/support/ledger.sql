-- name: ledger_rows
-- Every trial with its run's id, for reconciliation.
select run.run_id, trial.trial_id, trial.revision, trial.status, trial.metrics
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id

-- name: ledger_counts
-- Counts of trials that are not what the rows come to: none.
(select model_run_id::text as what, status, spectral_norm, count(*) as trials, sum(coalesce(duration_ms, 0)) as ms
 from cerebros_model_trials group by 1, 2, 3
 except select model_run_id::text, status, spectral_norm, sum(trials), sum(duration_ms) from cerebros_run_counts group by 1, 2, 3)
union all
(select model_run_id::text, status, spectral_norm, sum(trials), sum(duration_ms)
 from cerebros_run_counts group by 1, 2, 3 having sum(trials) <> 0
 except select model_run_id::text, status, spectral_norm, count(*), sum(coalesce(duration_ms, 0))
 from cerebros_model_trials group by 1, 2, 3)
union all
(select to_timestamp(floor(extract(epoch from inserted_at) / 1800) * 1800)::text, null, spectral_norm, count(*), 0
 from cerebros_model_trials group by 1, 2, 3
 except select at::text, null, spectral_norm, sum(trials), 0 from cerebros_time_counts group by 1, 2, 3)
union all
(select at::text, null, spectral_norm, sum(trials), 0
 from cerebros_time_counts group by 1, 2, 3 having sum(trials) <> 0
 except select to_timestamp(floor(extract(epoch from inserted_at) / 1800) * 1800)::text, null, spectral_norm, count(*), 0
 from cerebros_model_trials group by 1, 2, 3)

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
