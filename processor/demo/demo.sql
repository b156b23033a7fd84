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
       (select coalesce(sum(messages), 0)::bigint from outbox) as waiting,
       (select coalesce(sum(made.revision), 0)::bigint
          from (select max(told.revision) as revision
                  from cerebros_run_reports told join cerebros_model_runs r on r.id = told.model_run_id
                 where r.run_id = any($1::text[]) group by r.id) made)
       + (select count(*) from cerebros_trial_progress p join cerebros_model_runs r on r.id = p.model_run_id
           where r.run_id = any($1::text[]) and p.started_at is not null)
       + (select count(*) from cerebros_trial_metrics m join cerebros_model_runs r on r.id = m.model_run_id
           where r.run_id = any($1::text[])) as told

-- name: demo_runs
-- The runs $1 as they are.
select run_id, state, search_space_version, max_params, requested_trials, completed_trials, best_metric
  from cerebros_model_runs where run_id = any($1::text[])

-- name: demo_starts
-- The trials of the runs $1 that said that they start.
select r.run_id, p.trial_id, p.spectral_norm
  from cerebros_trial_progress p join cerebros_model_runs r on r.id = p.model_run_id
 where r.run_id = any($1::text[]) and p.started_at is not null

-- name: demo_metrics
-- What trials of the runs $1 measured at each step.
select r.run_id, m.trial_id, m.step, m.value
  from cerebros_trial_metrics m join cerebros_model_runs r on r.id = m.model_run_id
 where r.run_id = any($1::text[])

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
       left(md5(string_agg(to_jsonb(r)::text || to_jsonb(t)::text, ',' order by t.id)), 16) as hash,
       (select left(md5(string_agg(told, ',' order by told)), 16)
          from (select to_jsonb(one)::text as told from cerebros_run_reports one
                union all select to_jsonb(one)::text from cerebros_trial_progress one
                union all select to_jsonb(one)::text from cerebros_trial_metrics one) all_told) as told
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
