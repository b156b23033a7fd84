-- name: status_rows
-- How much has been written; metrics by step are too many to be counted each time.
select (select count(*) from cerebros_model_runs) as runs, (select coalesce(sum(trials), 0)::bigint from (
            select trials from cerebros_run_counts
            union all
            select trials from cerebros_count_changes where model_run_id is not null) as counted) as rows,
       (select count(*) from cerebros_trial_progress) as trials_with_progress,
       -- a table that was never analysed has -1: then they are few, and counted up to a bound
       (select case when reltuples >= 0 then reltuples::bigint
                    else (select count(*) from (select from cerebros_trial_metrics limit 100000) as few) end
        from pg_class where oid = 'cerebros_trial_metrics'::regclass) as metrics_about

-- name: status_runs
-- Runs by state.
select state, count(*) as count from cerebros_model_runs group by state order by state
