-- name: duplicate_rows
-- Runs and trials that are there more than once, which the unique keys would refuse.
with found as (
    select run_id, null as trial_id, count(*) as rows
    from cerebros_model_runs
    where run_id is not null
    group by run_id
    having count(*) > 1
    union all
    select coalesce(run.run_id, trial.model_run_id::text), trial.trial_id, count(*)
    from cerebros_model_trials trial left join cerebros_model_runs run on run.id = trial.model_run_id
    where trial.model_run_id is not null and trial.trial_id is not null
    group by run.run_id, trial.model_run_id, trial.trial_id
    having count(*) > 1
)
select run_id, trial_id, rows, count(*) over () as groups
from found
order by run_id, trial_id nulls first
limit 10

-- name: unknown_required_columns
-- Columns that an insert must name and that the processor knows nothing of: it could write no row.
select held.attrelid::regclass::text || '.' || held.attname as name
from pg_attribute held
where held.attrelid in ('cerebros_model_runs'::regclass, 'cerebros_model_trials'::regclass)
  and held.attnum > 0 and not held.attisdropped
  and held.attnotnull and not held.atthasdef and held.attidentity = ''
  and held.attname <> all(array[
      'id', 'run_id', 'state', 'started_at', 'inserted_at', 'updated_at', 'model_run_id', 'trial_id', {fields: '%name'},
      'bridge_payload', 'source_digest', 'schema_version', 'revision', 'source_topic', 'source_partition',
      'source_offset', 'source_index', 'source_timestamp'])
order by 1
