-- name: duplicate_trials
-- Trials that are there more than once, which the unique key would refuse.
select run.run_id, trial.trial_id, count(*) as rows, count(*) over () as groups
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
group by run.run_id, trial.model_run_id, trial.trial_id
having count(*) > 1
order by run.run_id, trial.trial_id
limit 10
