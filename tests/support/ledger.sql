-- name: ledger_rows
-- Every trial with its run's id, for reconciliation.
select run.run_id, trial.trial_id, trial.revision, trial.status, trial.metrics
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id

-- name: ledger_dead_letters
-- How many rejections are stored.
select count(*) as count from dead_letters
