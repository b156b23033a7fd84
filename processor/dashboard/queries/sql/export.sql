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

-- name: export_ids
-- The next trials of a filter behind an id.
select trial.id::text as id
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where /*filter*/ true and /*after*/ true
order by trial.id
limit /*limit*/ 1

-- name: export_rows
-- The trials $1 in this order, with all that is theirs (`exports.FIXED`); metrics and parameters as text, as `trial_rows` has them.
select run.run_id, trial.id::text as id, trial.trial_id, trial.status, trial.spectral_norm,
       trial.metrics::text as metrics, trial.parameters::text as parameters, trial.duration_ms, trial.rank,
       trial.mlflow_run_id, trial.artifact_uri, trial.candidate_id, trial.pulse_id, trial.error_message,
       trial.error_type, trial.stacktrace, trial.warnings, trial.schema_version, trial.revision, trial.inserted_at,
       trial.updated_at, link.state as mlflow_state, {spectral_norm_reported} as spectral_norm_reported
from {wanted_trials}
{newest_link}
order by trial.place
