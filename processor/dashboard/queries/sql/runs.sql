-- fragment: begun
-- When a run began and how many trials it wants: null where that is no more than the default of the column, which
-- stands in the row of a run that has told of no start.
lateral (
    select case when start.said is not null or run.started_at <> run.inserted_at then run.started_at end as started_at,
           case when start.said ->> 'requested_trials' is not null or run.requested_trials <> 3
                then run.requested_trials end as requested_trials
    from (select) as one
    left join cerebros_run_reports start on start.model_run_id = run.id and start.kind = 'start') as begun

-- name: run_page
-- The $3 runs behind (inserted $1, id $2), the newest first; those whose id has $4 in it, where it is given.
select run.id::text as id, run.run_id, run.state, begun.requested_trials, run.completed_trials, run.best_metric,
       left(run.error_message, 200) as error_message, begun.started_at, run.finished_at, run.inserted_at,
       run.updated_at
from cerebros_model_runs run
cross join {begun}
where ($1::timestamptz is null or (run.inserted_at, run.id) < ($1, $2::text::uuid))
  and ($4::text is null or strpos(lower(run.run_id collate "C"), lower($4 collate "C")) > 0)
order by run.inserted_at desc, run.id desc
limit $3

-- name: run_by_name
-- The run with the id $1 as Cerebros sent it.
select run.*, run.id::text as id, begun.started_at, begun.requested_trials
from cerebros_model_runs run cross join {begun}
where run.run_id = $1

-- fragment: counted_trials
-- Trials by run, status and arm, as they are counted while they are written: a count is the sum of all its rows.
(select model_run_id, status, spectral_norm, trials, duration_ms from cerebros_run_counts
 union all
 select model_run_id, status, spectral_norm, trials, duration_ms from cerebros_count_changes
 where model_run_id is not null) as counted

-- name: run_counts
-- Trials of the runs $1 by status and arm. None of a status: no row.
select model_run_id::text as id, status, spectral_norm, sum(trials)::bigint as trials, sum(duration_ms) as duration_ms
from {counted_trials}
where model_run_id = any($1::text[]::uuid[])
group by 1, 2, 3
having sum(trials) > 0

-- name: run_times
-- When the first and the last trial of the runs $1 were first seen.
select run.id::text as id, first.inserted_at as first_at, last.inserted_at as last_at
from unnest($1::text[]::uuid[]) as run (id)
cross join lateral (
    select inserted_at from cerebros_model_trials where model_run_id = run.id order by inserted_at, id limit 1) as first
cross join lateral (
    select inserted_at from cerebros_model_trials where model_run_id = run.id order by inserted_at desc, id desc limit 1
) as last
