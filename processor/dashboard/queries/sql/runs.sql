-- name: run_page
-- The $3 runs behind (inserted $1, id $2), the newest first; those whose id has $4 in it, where it is given.
select run.id::text as id, run.run_id, run.state, run.requested_trials, run.completed_trials, run.best_metric,
       run.error_message, run.started_at, run.finished_at, run.inserted_at, run.updated_at
from cerebros_model_runs run
where ($1::timestamptz is null or (run.inserted_at, run.id) < ($1, $2::text::uuid))
  and ($4::text is null or strpos(lower(run.run_id collate "C"), lower($4 collate "C")) > 0)
order by run.inserted_at desc, run.id desc
limit $3

-- name: run_by_name
-- The run with the id $1 as Cerebros sent it.
select run.*, run.id::text as id from cerebros_model_runs run where run.run_id = $1

-- name: run_counts
-- Trials of the runs $1 by status and arm; of each run $2 are looked at, so that a huge one costs no more than that.
select run.id::text as id, trial.status, trial.spectral_norm, count(*) as trials, min(trial.inserted_at) as first_at,
       max(trial.updated_at) as last_at, sum(trial.duration_ms)::bigint as duration_ms
from unnest($1::text[]::uuid[]) as run (id)
cross join lateral (
    select status, spectral_norm, inserted_at, updated_at, duration_ms from cerebros_model_trials
    where model_run_id = run.id limit $2
) as trial
group by run.id, trial.status, trial.spectral_norm
