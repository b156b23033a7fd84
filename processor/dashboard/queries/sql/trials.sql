-- fragment: newest_link
-- Of the links of a trial, one a tracking server, the one that changed last.
left join lateral (
    select state, mlflow_run_id, experiment_id from mlflow_links
    where mlflow_links.run_id = run.run_id and mlflow_links.trial_id = trial.trial_id
    order by updated_at desc, server limit 1) link on true

-- fragment: wanted_trials
-- The trials $1 with their places, in order before anything of them is looked at: of rows that nobody fetches no text is made. OFFSET 0 keeps it so.
(select run.run_id, trial.*, wanted.place
 from unnest($1::text[]::uuid[]) with ordinality as wanted (id, place)
 join cerebros_model_trials trial on trial.id = wanted.id
 join cerebros_model_runs run on run.id = trial.model_run_id
 order by wanted.place offset 0) as trial
cross join lateral (select trial.run_id) as run

-- name: trial_rows
-- The trials $1 in this order, as a page shows them: without what may be large and stands on a trial's own page. Metrics and parameters as text, whose bytes are counted before it is read (`queries.portions`).
select run.run_id, trial.id::text as id, trial.trial_id, trial.status, trial.spectral_norm,
       trial.metrics::text as metrics, trial.parameters::text as parameters, trial.duration_ms, trial.rank,
       trial.mlflow_run_id, trial.artifact_uri, trial.candidate_id, trial.pulse_id,
       cardinality(trial.warnings) as warnings, left(trial.error_message, 200) as error_message, trial.error_type,
       trial.revision, trial.schema_version, trial.inserted_at, trial.updated_at,
       {spectral_norm_reported} as spectral_norm_reported, link.state as mlflow_state,
       link.mlflow_run_id as mirrored_run_id, link.experiment_id as mlflow_experiment_id
from {wanted_trials}
{newest_link}
order by trial.place

-- name: trial_by_name
-- All of the trial $2 of the run $1.
select run.run_id, run.state as run_state, trial.*, trial.id::text as id, trial.model_run_id::text as model_run_id,
       {spectral_norm_reported} as spectral_norm_reported
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where run.run_id = $1 and trial.trial_id = $2

-- name: trials_named
-- Ids of the trials $2 of the runs $1, each of its own run, in this order; of those that are there.
select wanted.run_id, wanted.trial_id, trial.id::text as id
from unnest($1::text[], $2::text[]) with ordinality as wanted (run_id, trial_id, place)
join cerebros_model_runs run on run.run_id = wanted.run_id
join cerebros_model_trials trial on trial.model_run_id = run.id and trial.trial_id = wanted.trial_id
order by wanted.place

-- name: trial_that_is
-- The first of the trials $2 of the runs $1, each of its own run, that has ended or is under way.
select wanted.run_id, wanted.trial_id
from unnest($1::text[], $2::text[]) with ordinality as wanted (run_id, trial_id, place)
join cerebros_model_runs run on run.run_id = wanted.run_id
where exists (
    select from cerebros_model_trials trial where trial.model_run_id = run.id and trial.trial_id = wanted.trial_id
) or exists (
    select from cerebros_trial_progress progress
    where progress.model_run_id = run.id and progress.trial_id = wanted.trial_id
)
order by wanted.place
limit 1

-- name: trial_ids
-- Keys of a page: who comes next in an order, with what that order compares. Numbers become text outside, lest they be ordered as such. Filled in by `trials`.
select id::text as id, sort_kind, sort_number::text as sort_number, sort_text
from (select * from (
    select trial.id, /*kind*/ 0 as sort_kind, /*number*/ null::numeric as sort_number, /*text*/ null::text as sort_text
    from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    where /*filter*/ true
) as keyed
where /*after*/ true
order by /*order*/ id
limit /*limit*/ 1) as page

-- name: trial_ids_numbers
-- The same for those trials alone whose value is a number, which come first in either direction: jsonb has numbers in their order, and nothing has to be made of them.
select trial.id::text as id, 0 as sort_kind, (/*value*/ null::jsonb) #>> array[]::text[] as sort_number,
       null::text as sort_text
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where /*filter*/ true and jsonb_typeof(/*typed*/ null::jsonb) = 'number' and /*after*/ true
order by /*order*/ trial.id
limit /*limit*/ 1

-- name: trial_ids_indexed
-- The same where an index has those numbers as doubles, and so in their order but for neighbours.
select trial.id::text as id, 0 as sort_kind, (/*value*/ null::jsonb) #>> array[]::text[] as sort_number,
       null::text as sort_text
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where /*filter*/ true and /*finite*/ true and /*after*/ true
order by /*order*/ trial.id
limit /*limit*/ 1

-- name: trial_ids_plain
-- The same for a column that every trial has, and that an index may order.
select trial.id::text as id, 0 as sort_kind, (/*value*/ trial.id)::text as sort_text
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where /*filter*/ true and /*after*/ true
order by /*order*/ trial.id
limit /*limit*/ 1

-- name: trial_count
-- How many trials a filter holds, counted up to a bound.
select count(*) as count from (
    select from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    where /*filter*/ true
    limit /*limit*/ 1
) as counted

-- name: trials_counted
-- Trials of the run named $1 and of the runs with the ids $2, either null: whichever.
select coalesce(sum(trials), 0)::bigint as count
from {counted_trials}
where ($1::text is null or model_run_id = (select id from cerebros_model_runs where run_id = $1))
  and ($2::text[] is null or model_run_id = any($2::text[]::uuid[]))

-- name: trial_share
-- Of the newest and of the oldest trials of a scope, so many each, how many a filter holds.
select count(*) as looked, count(*) filter (where /*filter*/ true) as count
from (
    (select trial.* from cerebros_model_trials trial where /*scope*/ true
     order by trial.inserted_at desc, trial.id desc limit /*limit*/ 1)
    union all
    (select trial.* from cerebros_model_trials trial where /*scope*/ true
     order by trial.inserted_at, trial.id limit /*limit*/ 1)
) as trial
join cerebros_model_runs run on run.id = trial.model_run_id

-- fragment: bytes_so_far
-- What the metrics and parameters of rows take, of each row with those before it, known without a look at them: as they are stored, and where that is compressed some eight times as much.
sum(pg_column_size(metrics) * case when pg_column_compression(metrics) is null then 1 else 8 end
    + pg_column_size(parameters) * case when pg_column_compression(parameters) is null then 1 else 8 end)
    over (rows unbounded preceding) as bytes_so_far

-- fragment: opened
-- An object that has names, and whose own is short; null otherwise.
case when jsonb_typeof(value) = 'object' and value <> '{}' and octet_length(key) <= 60 then value end

-- fragment: counts_of_values
-- How many there are, how many of them differ, and what they are.
count(*) as trials, count(distinct value) as values,
count(*) filter (where jsonb_typeof(value) = 'number') as numbers,
count(*) filter (where jsonb_typeof(value) in ('object', 'array')) as nested

-- name: trial_keys
-- Which metrics and parameters some trials of a filter have, and of the newest of its runs those that it holds: in how many, with how many values, how many numbers. What comes first are the oldest mostly, and a search may vary something only later. Of trials with very many keys fewer are looked at (`cut`). Objects are opened, two levels below the first, where their names are short: a path repeats them.
with given as materialized (
    select trial.id, trial.metrics, trial.parameters
    from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    where /*filter*/ true
    /*order*/
    limit /*limit*/ 1
), taken as materialized (
    select id, metrics, parameters
    from (select *, row_number() over () as place, {bytes_so_far} from given) as counted
    where place = 1 or bytes_so_far <= /*bytes*/ 1
), newest as materialized (
    select trial.id, trial.metrics, trial.parameters
    from (/*newest*/ select * from cerebros_model_trials) as trial
    join cerebros_model_runs run on run.id = trial.model_run_id
    where /*again*/ true and trial.id not in (select id from taken)
), looked as materialized (
    select metrics, parameters from taken
    union all
    select metrics, parameters from (select *, {bytes_so_far} from newest) as counted
    where bytes_so_far <= /*bytes*/ 1
), each as not materialized (
    select place, key, value, {opened} as inside
    from (select 'metrics' as place, entry.* from looked cross join lateral jsonb_each(metrics) as entry
          union all
          select 'parameters', entry.* from looked cross join lateral jsonb_each(parameters) as entry) as entries
), second as materialized (
    select place, first, key, value, {opened} as inside
    from (select each.place, each.key as first, entry.*
          from each cross join lateral jsonb_each(each.inside) as entry
          where each.inside is not null) as entries
), third as (
    select second.place, second.first, second.key as second, entry.*
    from second cross join lateral jsonb_each(second.inside) as entry
), counted as (
    select place, array[key] as keys, {counts_of_values} from each where inside is null group by place, key
    union all
    select place, array[first, key], {counts_of_values} from second where inside is null group by place, first, key
    union all
    select place, array[first, second, key], {counts_of_values} from third group by place, first, second, key
)
select *, (select count(*) from looked) as looked, (select count(*) from taken) < (select count(*) from given) as cut
from counted
order by trials desc, place, keys
limit /*most*/ 1
