-- name: counts_missed
-- Which counts are not what the rows come to, $1 at the most of either kind.
(select coalesce(run.run_id, missed.model_run_id::text) as run_id,
        format('%s too %s of status %s %s spectral_norm', abs(missed.trials),
               case when missed.trials < 0 then 'many' else 'few' end, coalesce(nullif(missed.status, ''), 'none'),
               case when missed.spectral_norm then 'with' else 'without' end) as detail
 from cerebros_run_counts_missed() missed left join cerebros_model_runs run on run.id = missed.model_run_id
 order by 1, 2
 limit $1)
union all
(select '', format('%s too %s in the half hour from %s', abs(sum(missed.trials)),
                   case when sum(missed.trials) < 0 then 'many' else 'few' end, missed.at)
 from cerebros_time_counts_missed() missed
 group by missed.at
 order by missed.at
 limit $1)

-- name: recount_alone
-- One recount at a time: two that see the same is missing would add it twice. Ingest folds meanwhile, by another lock. By itself, so that what comes next sees what the one before has added.
select set_config('lock_timeout', '0', true), pg_advisory_xact_lock('cerebros_run_counts'::regclass::integer, 1)

-- name: recount_runs
-- Adds what the counts by run miss.
insert into cerebros_count_changes (model_run_id, at, status, spectral_norm, defaulted, trials, duration_ms)
select model_run_id, null, status, spectral_norm, false, trials, duration_ms from cerebros_run_counts_missed()

-- name: recount_times
-- Adds what the counts by time miss.
insert into cerebros_count_changes (model_run_id, at, status, spectral_norm, defaulted, trials, duration_ms)
select null, at, '', spectral_norm, defaulted, trials, 0 from cerebros_time_counts_missed()

-- name: fold_counts
-- Adds what statements have counted to the counts, unless another session is at it.
select cerebros_fold_counts()
