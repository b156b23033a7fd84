-- name: trial_names
-- What the trials with the ids $1 are called.
select trial.id::text as id, run.run_id, trial.trial_id
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where trial.id = any($1::text[]::uuid[])

-- name: chart_sample
-- Some trials with the values that are drawn of each, in the order of time.
select run.run_id, trial.trial_id, trial.status, trial.spectral_norm as arm,
       case when trial.status = 'succeeded' then /*value*/ null::float8 end as value,
       /*parameters*/ '[]'::jsonb as parameters
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where trial.id = any(/*ids*/ null::text[]::uuid[]) and /*filter*/ true
order by trial.inserted_at, trial.id

-- name: chart_errors
-- What failed trials died of, the most frequent first.
select left(trial.error_type, 200) as error_type, count(*) as trials,
       count(*) filter (where trial.spectral_norm) as with_spectral_norm
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where trial.status = 'failed' and /*filter*/ true
group by 1
order by trials desc, 1
limit 12
