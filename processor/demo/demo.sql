-- name: demo_counts
-- What the runs $1 (keys as bytes: $2) have come to so far; `waiting` is what the relay has yet to publish.
with trials as (
    select t.status, t.revision
      from cerebros_model_trials t join cerebros_model_runs r on r.id = t.model_run_id
     where r.run_id = any($1::text[]))
select (select count(*) from trials) as rows,
       (select coalesce(sum(revision), 0)::bigint from trials) as revisions,
       (select coalesce(sum(revision), 0)::bigint from trials where status in ('succeeded', 'failed')) as events,
       (select count(*) from dead_letters d join dead_letter_records k on k.id = d.record_id
         where k.key = any($2::bytea[])) as dead_letters,
       (select coalesce(sum(messages), 0)::bigint from outbox) as waiting

-- name: demo_rows
-- The trials of the runs $1.
select r.run_id, t.*
  from cerebros_model_trials t join cerebros_model_runs r on r.id = t.model_run_id
 where r.run_id = any($1::text[])
 order by r.run_id, t.trial_id

-- name: demo_dead_letters
-- The dead letters of records with the keys $1, with the bytes they came from.
select d.id, d.reason, d.detail, d.report_index, k.value
  from dead_letters d join dead_letter_records k on k.id = d.record_id
 where k.key = any($1::bytea[])
 order by d.id

-- name: demo_fingerprint
-- One hash over every column of the runs $1 and their trials (updated_at and source position too), to compare with later.
select count(t.id) as rows,
       coalesce(sum(t.revision), 0)::bigint as revisions,
       to_char(max(t.updated_at), 'HH24:MI:SS.US') as last_change,
       left(md5(string_agg(to_jsonb(r)::text || to_jsonb(t)::text, ',' order by t.id)), 16) as hash
  from cerebros_model_trials t join cerebros_model_runs r on r.id = t.model_run_id
 where r.run_id = any($1::text[])

-- name: demo_by_status
-- Trials of the runs $1 by status and spectral_norm, with their accuracy.
select t.status, t.spectral_norm, count(*) as trials,
       max((t.metrics ->> 'accuracy')::double precision) as best,
       avg((t.metrics ->> 'accuracy')::double precision) as mean
  from cerebros_model_trials t join cerebros_model_runs r on r.id = t.model_run_id
 where r.run_id = any($1::text[])
 group by t.status, t.spectral_norm
 order by array_position(array['succeeded', 'failed', 'skipped', 'cancelled'], t.status), t.spectral_norm
