-- name: trial_progress
-- What the trial $2 of the run $1 has said before it ended.
select progress.started_at, progress.last_seen, progress.spectral_norm, progress.parameters, progress.rest
from cerebros_trial_progress progress join cerebros_model_runs run on run.id = progress.model_run_id
where run.run_id = $1 and progress.trial_id = $2

-- name: trial_curves
-- Metrics by step of the trial $2 of the run $1, the first 50 by name; each in $3 columns of equally many steps at the most, so that a million of them are drawn as well as a few.
with points as (
    select metric, step, value, at, count(*) over (partition by metric) as total,
           row_number() over (partition by metric order by coalesce(step, -1)) as place,
           dense_rank() over (order by metric) as curve,
           value not in ('NaN', 'Infinity', '-Infinity') as finite
    from cerebros_trial_metrics
    where model_run_id = (select id from cerebros_model_runs where run_id = $1) and trial_id = $2
)
select metric, min(step) as first_step, max(step) as last_step, count(*) as points,
       count(*) filter (where not finite) as not_finite, min(value) filter (where finite) as least,
       max(value) filter (where finite) as greatest,
       (array_agg(value order by place desc) filter (where finite))[1] as last, max(at) as at, (select max(curve) from points) as metrics
from points
where curve <= 50
group by metric, (place - 1) * least($3::integer, total) / total
order by metric, min(place)

-- name: running_trials
-- The $2 trials of the run $1 that have started and not ended, those last heard of first.
select progress.trial_id, progress.started_at, progress.last_seen, progress.spectral_norm, progress.parameters
from cerebros_trial_progress progress
where progress.model_run_id = (select id from cerebros_model_runs where run_id = $1)
  and not exists (
      select from cerebros_model_trials trial
      where trial.model_run_id = progress.model_run_id and trial.trial_id = progress.trial_id
  )
order by progress.last_seen desc, progress.trial_id
limit $2

-- name: run_life
-- The newest start and stop that the run $1 has told of itself.
select report.kind, report.revision, report.said, report.rest, report.schema_version, report.source_timestamp
from cerebros_run_reports report join cerebros_model_runs run on run.id = report.model_run_id
where run.run_id = $1
order by report.kind
