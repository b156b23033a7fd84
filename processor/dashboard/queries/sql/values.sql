-- name: arm_levels
-- The values that a parameter has in the trials of a filter, as text, so many of the most frequent.
select level, count(*) as trials from (
    select /*arm*/ null::text as level
    from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    where /*filter*/ true
) as levels
where level is not null
group by level
order by trials desc, level
limit /*most*/ 1

-- name: packed_columns
-- Columns of all trials of a filter, each as the binary form of its values one after the other: a million rows are read in one row; no row where there are as many as may be read. What makes a value of a row stands inside, where workers share it; no aggregate has an order of its own, so all see the trials in the same one. Runs are looked up where something is asked of them. A time is sent as it is held, in microseconds since 2000.
select count(*) as count/*packed*/
from (
    select /*columns*/ null as nothing
    from cerebros_model_trials trial /*joined*/ join cerebros_model_runs run on run.id = trial.model_run_id
    where /*filter*/ true
    limit /*most*/ 1
) as taken
having count(*) < /*most*/ 1

-- name: runs_by_name
-- The runs with the names $1, as trials hold them.
select id::text as id, run_id from cerebros_model_runs where run_id = any($1::text[])

-- name: runs_by_hash
-- The runs with the hashes $1, by which packed values tell them.
select run_id, uuid_hash_extended(id, 0) as code from cerebros_model_runs where uuid_hash_extended(id, 0) = any($1::bigint[])

-- fragment: spectral_norm_reported
-- Whether a report said spectral_norm; of rows from before that was kept, whether the version of its schema has it, or it is none of its default. As `filters.fields` has it.
coalesce(trial.spectral_norm_reported, trial.spectral_norm or trial.schema_version >= 2, false)

-- name: adoption
-- Trials by time in buckets of $1 seconds since $2: with spectral_norm, without, and those that did not say.
select date_bin(make_interval(secs => $1), inserted_at, timestamptz 'epoch') as at, count(*) as trials,
       count(*) filter (where spectral_norm) as adopted,
       count(*) filter (where not {spectral_norm_reported}) as defaulted
from cerebros_model_trials trial
where inserted_at >= $2
group by 1
order by 1
limit 2000

-- name: adoption_counted
-- The same in buckets of whole half hours, in which trials are counted while they are written; what has it is counted as defaulted there where another program wrote it.
select date_bin(make_interval(secs => $1), at, timestamptz 'epoch') as at, sum(trials)::bigint as trials,
       coalesce(sum(trials) filter (where spectral_norm), 0)::bigint as adopted,
       coalesce(sum(trials) filter (where defaulted and not spectral_norm), 0)::bigint as defaulted
from (select at, spectral_norm, defaulted, trials from cerebros_time_counts where at >= $2
      union all
      select at, spectral_norm, defaulted, trials from cerebros_count_changes where at >= $2) as counted
group by 1
having sum(trials) > 0
order by 1
limit 2000
