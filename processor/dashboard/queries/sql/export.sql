-- name: export_keys
-- Every metric and parameter that some trial of a filter has.
select place, key from (
    select 'metrics' as place, each.key
    from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    cross join lateral jsonb_object_keys(trial.metrics) as each (key)
    where /*filter*/ true
    union
    select 'parameters', each.key
    from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    cross join lateral jsonb_object_keys(trial.parameters) as each (key)
    where /*again*/ true
) as keys
order by place, key
limit 2001

-- name: export_page
-- The next trials of a filter behind an id, with all that is theirs.
select run.run_id, trial.*, trial.id::text as id, link.state as mlflow_state,
       {spectral_norm_reported} as spectral_norm_reported
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
{newest_link}
where /*filter*/ true and /*after*/ true
order by trial.id
limit /*limit*/ 1
