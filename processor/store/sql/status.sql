-- name: status_rows
-- How much has been written.
select (select count(*) from cerebros_model_runs) as runs, (select count(*) from cerebros_model_trials) as rows

-- name: status_dead_letters
-- Unresolved dead letters by reason.
select reason, count(*) as count from dead_letters where resolved_at is null group by reason order by count(*) desc, reason
