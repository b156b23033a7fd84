-- name: try_migrate
-- True when this session is the one that migrates this schema.
select pg_try_advisory_lock($1::integer, coalesce(to_regnamespace(quote_ident(current_schema()))::oid, 0)::integer)

-- name: end_migrate
-- Another may migrate this schema.
select pg_advisory_unlock($1::integer, coalesce(to_regnamespace(quote_ident(current_schema()))::oid, 0)::integer)

-- name: tables_held
-- Which of the two tables that other programs may have made are there.
select to_regclass('cerebros_model_runs') is not null as runs, to_regclass('cerebros_model_trials') is not null as trials

-- name: duplicate_runs
-- Runs that are there more than once, which the unique key would refuse.
select run_id, null as trial_id, count(*) as rows, count(*) over () as groups
from cerebros_model_runs
where run_id is not null
group by run_id
having count(*) > 1
order by run_id
limit 10

-- name: duplicate_trials
-- Trials that are there more than once, which the unique key would refuse.
select coalesce(run.run_id, trial.model_run_id::text) as run_id, trial.trial_id, count(*) as rows,
       count(*) over () as groups
from cerebros_model_trials trial left join cerebros_model_runs run on run.id = trial.model_run_id
where trial.model_run_id is not null and trial.trial_id is not null
group by run.run_id, trial.model_run_id, trial.trial_id
having count(*) > 1
order by 1, 2
limit 10

-- name: unique_key_held
-- Whether table $1 has a unique key on exactly the columns $2 (in order of their names), under whatever name.
select exists (
    select from pg_index held
    where held.indrelid = $1::text::regclass
      and held.indisunique and held.indisvalid and held.indimmediate
      and held.indpred is null and held.indexprs is null
      and (select array_agg(attname::text order by attname) from pg_attribute
           where attrelid = held.indrelid and attnum = any(held.indkey)) = $2::text[]
) as held

-- name: index_held
-- Whether there is an index of the name $1, and whether it is whole: one whose making was cut short is not.
select indisvalid as valid from pg_index where indexrelid = to_regclass($1::text)

-- name: rows_about
-- About how many rows the table $1 has.
select greatest(reltuples, 0)::bigint as rows from pg_class where oid = to_regclass($1::text)

-- name: who_holds
-- The oldest transaction that holds a lock on the two tables, beside this one.
select session.pid, coalesce(nullif(session.application_name, ''), 'no name') as application,
       extract(epoch from now() - session.xact_start)::bigint as seconds
from pg_locks held join pg_stat_activity session on session.pid = held.pid
where held.relation in (to_regclass('cerebros_model_runs'), to_regclass('cerebros_model_trials'))
  and held.granted and held.pid <> pg_backend_pid()
order by session.xact_start
limit 1

-- name: warnings_type
-- The type of the warnings, where it is none that they can be written to.
select format_type(atttypid, atttypmod) as type
from pg_attribute
where attrelid = to_regclass('cerebros_model_trials') and attname = 'warnings' and not attisdropped
  and atttypid not in ('text[]'::regtype, 'varchar[]'::regtype)

-- name: database_encoding
-- How the database stores text.
select pg_encoding_to_char(encoding) as encoding from pg_database where datname = current_database()

-- name: unknown_required_columns
-- Columns that an insert must name and that the processor knows nothing of: it could write no row. (Those of the runs that are named here are given a default by 0002.)
select held.attrelid::regclass::text || '.' || held.attname as name
from pg_attribute held
where held.attrelid in (to_regclass('cerebros_model_runs'), to_regclass('cerebros_model_trials'))
  and held.attnum > 0 and not held.attisdropped
  and held.attnotnull and not held.atthasdef and held.attidentity = ''
  and held.attname <> all(array[
      'search_space_version', 'max_params', 'requested_trials', 'completed_trials', 'metadata', 'bridge_result',
      'id', 'run_id', 'state', 'started_at', 'inserted_at', 'updated_at', 'model_run_id', 'trial_id', {fields: '%name'},
      'bridge_payload', 'source_digest', 'schema_version', 'revision', 'source_topic', 'source_partition',
      'source_offset', 'source_index', 'source_timestamp', 'spectral_norm_reported'])
order by 1

-- name: parts_missing
-- Which of these parts, the first being 1, are gone, or without effect: of a kind $1, on a table $2, called $3. (A key counts by its columns, whatever it is called.)
select made.place
from unnest($1::text[], $2::text[], $3::text[]) with ordinality as made (kind, held_by, name, place)
where not case kind
    when 'key' then exists (
        select from pg_index held
        where held.indrelid = to_regclass(held_by)
          and held.indisunique and held.indisvalid and held.indimmediate
          and held.indpred is null and held.indexprs is null
          and (select string_agg(attname::text, ', ' order by attname) from pg_attribute
               where attrelid = held.indrelid and attnum = any(held.indkey)) = made.name)
    when 'index' then exists (
        select from pg_index
        where indrelid = to_regclass(held_by) and indexrelid = to_regclass(made.name) and indisvalid)
    when 'trigger' then exists (
        select from pg_trigger where tgrelid = to_regclass(held_by) and tgname = made.name and tgenabled <> 'D')
    else exists (
        select from pg_constraint where conrelid = to_regclass(held_by) and conname = made.name and convalidated)
end
order by made.place
