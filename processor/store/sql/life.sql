-- name: look_at_runs
-- The rows of these runs as they are: other programs write them too.
select id::text as id, run_id, state, started_at::text as started_at, finished_at::text as finished_at,
       case when isfinite(started_at) then {milliseconds: started_at} end as started_ms,
       search_space_version, max_params, requested_trials,
       completed_trials, best_metric, error_message, metadata, bridge_result
from cerebros_model_runs where id = any($1::text[]::uuid[])

-- name: look_at_run_reports
-- The start and the stop that are held of these runs.
select model_run_id::text as id, kind, revision, said, rest, {milliseconds: source_timestamp} as timestamp_ms, source_partition,
       source_offset, source_index
from cerebros_run_reports where model_run_id = any($1::text[]::uuid[])

-- name: write_runs
-- Runs as their reports have left them, each once.
update cerebros_model_runs run
set state = given.state, started_at = given.started_at, finished_at = given.finished_at,
    search_space_version = given.search_space_version, max_params = given.max_params,
    requested_trials = given.requested_trials, completed_trials = given.completed_trials,
    best_metric = given.best_metric, error_message = given.error_message, metadata = given.metadata,
    bridge_result = given.bridge_result,
    updated_at = case when given.changed then now() else run.updated_at end
from jsonb_to_recordset($1::jsonb) as given (
    id uuid, state text, started_at timestamptz, finished_at timestamptz, changed boolean, search_space_version integer,
    max_params integer, requested_trials integer, completed_trials integer, best_metric double precision,
    error_message text, metadata jsonb, bridge_result jsonb)
where run.id = given.id

-- name: write_run_reports
-- Starts and stops that are held now.
insert into cerebros_run_reports as held (
    model_run_id, kind, revision, said, rest, schema_version, source_topic, source_partition, source_offset, source_index,
    source_timestamp)
select id, kind, revision, said, rest, schema_version, source_topic, source_partition, source_offset, source_index,
       {moment: timestamp_ms}
from jsonb_to_recordset($1::jsonb) as given (
    id uuid, kind text, revision bigint, said jsonb, rest jsonb, schema_version integer, source_topic text, source_partition integer,
    source_offset bigint, source_index integer, timestamp_ms bigint)
on conflict (model_run_id, kind) do update
set revision = excluded.revision, said = excluded.said, rest = excluded.rest, schema_version = excluded.schema_version,
    source_topic = excluded.source_topic, source_partition = excluded.source_partition,
    source_offset = excluded.source_offset, source_index = excluded.source_index,
    source_timestamp = excluded.source_timestamp

-- name: forget_stops
-- Stops of runs that run again.
delete from cerebros_run_reports where kind = 'stop' and model_run_id = any($1::text[]::uuid[])

-- name: look_at_starts
-- Which of these trials have said that they started, and what.
select given.place - 1 as place, held.spectral_norm, held.parameters, held.rest,
       {milliseconds: held.source_timestamp} as timestamp_ms, held.source_partition, held.source_offset,
       held.source_index
from unnest($1::text[]::uuid[], $2::text[]) with ordinality as given (model_run_id, trial_id, place)
join cerebros_trial_progress held on held.model_run_id = given.model_run_id and held.trial_id = given.trial_id
where held.source_timestamp is not null

-- name: write_starts
-- Trials that started, each once.
insert into cerebros_trial_progress as held (
    model_run_id, trial_id, started_at, last_seen, spectral_norm, parameters, rest, source_partition, source_offset,
    source_index, source_timestamp)
select model_run_id, trial_id, at, at, spectral_norm, parameters, rest, source_partition, source_offset, source_index, at
from (select given.*, {moment: given.ms} as at
      from unnest($1::text[]::uuid[], $2::text[], $3::boolean[], $4::jsonb[], $5::jsonb[], $6::bigint[], $7::integer[],
                  $8::bigint[], $9::integer[])
           as given (model_run_id, trial_id, spectral_norm, parameters, rest, ms, source_partition, source_offset,
                     source_index)) as given
order by model_run_id, trial_id
on conflict (model_run_id, trial_id) do update
set started_at = excluded.started_at, last_seen = greatest(held.last_seen, excluded.last_seen),
    spectral_norm = excluded.spectral_norm, parameters = excluded.parameters, rest = excluded.rest,
    source_partition = excluded.source_partition, source_offset = excluded.source_offset,
    source_index = excluded.source_index, source_timestamp = excluded.source_timestamp

-- name: look_at_metrics
-- Which of these metrics have a value at these steps, which, and where it came from.
select given.place - 1 as place, held.value, held.rest, {milliseconds: held.at} as timestamp_ms, held.source_partition,
       held.source_offset, held.source_index
from unnest($1::text[]::uuid[], $2::text[], $3::text[], $4::bigint[]) with ordinality
     as given (model_run_id, trial_id, metric, step, place)
join cerebros_trial_metrics held
    on held.model_run_id = given.model_run_id and held.trial_id = given.trial_id and held.metric = given.metric
   and coalesce(held.step, -1::bigint) = coalesce(given.step, -1::bigint)

-- name: write_metrics
-- Metrics at steps, each once; what was there was older.
insert into cerebros_trial_metrics as held (
    model_run_id, trial_id, metric, step, value, rest, at, source_partition, source_offset, source_index)
select model_run_id, trial_id, metric, step, value, rest, {moment: ms}, source_partition, source_offset, source_index
from unnest($1::text[]::uuid[], $2::text[], $3::text[], $4::bigint[], $5::double precision[], $6::jsonb[], $7::bigint[],
            $8::integer[], $9::bigint[], $10::integer[])
     as given (model_run_id, trial_id, metric, step, value, rest, ms, source_partition, source_offset, source_index)
on conflict (model_run_id, trial_id, metric, coalesce(step, -1::bigint)) do update
set value = excluded.value, rest = excluded.rest, at = excluded.at, source_partition = excluded.source_partition,
    source_offset = excluded.source_offset, source_index = excluded.source_index

-- name: write_seen
-- When these trials were last heard of, each once; never earlier than it was.
insert into cerebros_trial_progress as held (model_run_id, trial_id, last_seen)
select model_run_id, trial_id, {moment: ms}
from unnest($1::text[]::uuid[], $2::text[], $3::bigint[]) as given (model_run_id, trial_id, ms)
order by model_run_id, trial_id
on conflict (model_run_id, trial_id) do update
set last_seen = excluded.last_seen where held.last_seen < excluded.last_seen

-- name: runs_by_id
-- These runs, by the id that Cerebros sent.
select run_id, id::text as id from cerebros_model_runs where run_id = any($1::text[])

-- name: look_at_seen
-- When these trials were last heard of.
select given.place - 1 as place, {milliseconds: held.last_seen} as timestamp_ms
from unnest($1::text[]::uuid[], $2::text[]) with ordinality as given (model_run_id, trial_id, place)
join cerebros_trial_progress held on held.model_run_id = given.model_run_id and held.trial_id = given.trial_id
