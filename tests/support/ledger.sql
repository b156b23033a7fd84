-- name: ledger_rows
-- Every trial with its run's id, for reconciliation.
select run.run_id, trial.trial_id, trial.revision, trial.status, trial.metrics
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id

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
