-- name: chart_best
-- The trials of each arm that beat all before them, the last of them in each of 400 parts of the arm's trials, and its last trial: a line that is exact wherever a screen could show it.
with valued as (
    select run.run_id, trial.trial_id, trial.id, trial.inserted_at as at, trial.spectral_norm as arm,
           coalesce(trial.duration_ms, 0) as duration_ms,
           case when trial.status = 'succeeded' then nullif(/*value*/ null::float8, 'NaN'::float8) end as value
    from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    where /*filter*/ true
), ordered as (
    select valued.*, row_number() over w as place, count(*) over (partition by arm) as trials,
           sum(duration_ms) over (w rows unbounded preceding) as cost_ms,
           /*extreme*/ max(value) over (w rows unbounded preceding) as best,
           /*extreme*/ max(value) over (w rows between unbounded preceding and 1 preceding) as before
    from valued
    window w as (partition by arm order by at, id)
)
select distinct on (arm, (place - 1) * 400 / trials, place = trials)
       arm, place, at, cost_ms::float8 as cost_ms, best, run_id, trial_id, place = trials as last
from ordered
where place = trials or (value is not null and before is distinct from best)
order by arm, (place - 1) * 400 / trials, place = trials, place desc

-- name: chart_sample
-- So many trials of a filter, the same ones at each look however many come beside them: those whose ids have the least hashes.
with chosen as materialized (
    select trial.id
    from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    where /*filter*/ true
    order by uuid_hash_extended(trial.id, 0), trial.id
    limit /*limit*/ 1
)
select run.run_id, trial.trial_id, trial.status, trial.spectral_norm as arm,
       case when trial.status = 'succeeded' then /*value*/ null::float8 end as value,
       /*parameters*/ '[]'::jsonb as parameters
from chosen
join cerebros_model_trials trial on trial.id = chosen.id
join cerebros_model_runs run on run.id = trial.model_run_id
order by trial.inserted_at, trial.id

-- name: chart_span
-- When the first and the last trial of a filter were first seen.
select min(trial.inserted_at) as first, max(trial.inserted_at) as last
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where /*filter*/ true

-- name: chart_endings
-- How trials ended, by time and arm.
select date_bin(make_interval(secs => /*seconds*/ 1), trial.inserted_at, /*origin*/ timestamptz 'epoch') as at,
       trial.spectral_norm as arm, count(*) as trials,
       count(*) filter (where trial.status = 'failed') as failed,
       count(*) filter (where trial.status in ('succeeded', 'failed')) as ended
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where /*filter*/ true
group by 1, 2
order by 1, 2
limit 200

-- name: chart_errors
-- What failed trials died of, the most frequent first.
select left(trial.error_type, 200) as error_type, count(*) as trials,
       count(*) filter (where trial.spectral_norm) as with_spectral_norm
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where trial.status = 'failed' and /*filter*/ true
group by 1
order by trials desc, 1
limit 12
