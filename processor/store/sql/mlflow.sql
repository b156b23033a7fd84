-- name: intend_links
-- Links of trials that have none yet, with the keys that their runs will bear; the ids of those that are new.
insert into mlflow_links (server, id, run_id, trial_id, key)
select $1, given.id, given.run_id, given.trial_id, given.key
from unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) as given (id, run_id, trial_id, key)
order by given.id
on conflict do nothing
returning id

-- name: doubt_links
-- Links that were there before and have no run: whoever wrote them may have asked for one, and may yet get it.
update mlflow_links set uncertain_since = clock_timestamp()
where server = $1 and id = any($2::uuid[]) and mlflow_run_id is null and uncertain_since is null

-- name: look_at_links
-- These links as they are.
select id, run_id, trial_id, key, experiment_id, mlflow_run_id, reported, state, synced_ms, synced_revision, shape,
       superseded, held
from mlflow_links where server = $1 and id = any($2::uuid[])

-- name: record_links
-- Remembers runs where none is remembered yet under that key, or this very one, which another mirror found; the links for which it is this one.
update mlflow_links link
set mlflow_run_id = given.mlflow_run_id, experiment_id = given.experiment_id, reported = given.reported,
    synced_ms = coalesce(given.synced_ms, link.synced_ms),
    synced_revision = coalesce(given.synced_revision, link.synced_revision),
    shape = coalesce(given.shape, link.shape), updated_at = clock_timestamp()
from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::bigint[], $8::bigint[], $9::text[])
     as given (id, key, mlflow_run_id, experiment_id, reported, synced_ms, synced_revision, shape)
where link.server = $1 and link.id = given.id and link.key = given.key
  and coalesce(link.mlflow_run_id, given.mlflow_run_id) is not distinct from given.mlflow_run_id
returning link.run_id, link.trial_id

-- name: replace_link
-- A link whose run is to be superseded, or was never ours, has none from now on, and another key.
update mlflow_links
set key = $4, mlflow_run_id = null, reported = false, shape = null, held = '{}', superseded = $5, state = 'pending',
    updated_at = clock_timestamp()
where server = $1 and id = $2 and mlflow_run_id = $3

-- name: settle_links
-- How far each link has come; never back.
update mlflow_links link
set state = given.state, detail = null, synced_ms = given.synced_ms, synced_revision = given.synced_revision,
    shape = given.shape, superseded = given.superseded, reported = given.reported,
    held = coalesce(array(select jsonb_array_elements_text(given.held)), '{}'), updated_at = clock_timestamp()
from unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::boolean[], $9::jsonb[],
            $10::text[])
     as given (id, state, synced_ms, synced_revision, shape, superseded, reported, held, mlflow_run_id)
where link.server = $1 and link.id = given.id and link.mlflow_run_id is not distinct from given.mlflow_run_id
  and (link.synced_ms is null or (link.synced_ms, link.synced_revision) <= (given.synced_ms, given.synced_revision))

-- name: refuse_link
-- Why a trial has no run, or none that can be written; not where another mirror has come as far as that meanwhile.
update mlflow_links set state = $3, detail = left($4, 1000), updated_at = clock_timestamp()
where server = $1 and id = $2 and (synced_ms is null or (synced_ms, synced_revision) < ($5::bigint, $6::bigint))

-- name: doubtful_links
-- Links that have a run, and that were in doubt for so many seconds: a second run of theirs may have come since.
select id, run_id, trial_id, key, experiment_id, mlflow_run_id, reported, state, synced_ms, synced_revision, shape,
       superseded, held
from mlflow_links
where server = $1 and uncertain_since < clock_timestamp() - make_interval(secs => $2) and mlflow_run_id is not null
order by uncertain_since limit $3

-- name: doubtful_links_count
-- How many links are in doubt.
select count(*) as number from mlflow_links where server = $1 and uncertain_since is not null

-- name: trust_links
-- These were looked at.
update mlflow_links set uncertain_since = null where server = $1 and id = any($2::uuid[])

-- name: see_server
-- A tracking server answers; since when it is known.
insert into mlflow_servers as held (server, tracking_uri) values ($1, $2)
on conflict (server) do update set tracking_uri = excluded.tracking_uri, last_seen = clock_timestamp()

-- name: mlflow_server
-- The tracking server that answered last, and how many were mirrored into before it.
select server, tracking_uri, first_seen, last_seen, count(*) over () - 1 as former_servers
from mlflow_servers order by last_seen desc, server limit 1

-- name: link_states
-- Links of the server $1 by state: of trials, and of runs themselves. Of linked ones, and of all others together, $2 are counted; where there are as many, their states are `about` what a sample of the pages has of them.
with bounded as (
    (select state, trial_id, updated_at from mlflow_links where server = $1 and state <> 'linked' limit $2)
    union all
    (select state, trial_id, updated_at from mlflow_links where server = $1 and state = 'linked' limit $2)
), counted as (
    select state, count(*) filter (where trial_id <> '') as trials, count(*) filter (where trial_id = '') as runs,
           max(updated_at) as changed_at, sum(count(*)) over (partition by state = 'linked') >= $2 as about
    from bounded group by state
), pages as (
    select case when exists (select from counted where about) then {sampled_pages} else 0 end::real as percent
    from pg_relation_size('mlflow_links') as bytes
), likely as (
    select state, (count(*) filter (where trial_id <> '') * 100 / (select percent from pages))::bigint as trials,
           (count(*) filter (where trial_id = '') * 100 / (select percent from pages))::bigint as runs
    from mlflow_links tablesample system ((select percent from pages)) repeatable (0)
    where server = $1
    group by state
)
select counted.state, counted.about, case when not counted.about then counted.changed_at end as changed_at,
       case when counted.about then greatest(counted.trials, likely.trials) else counted.trials end as trials,
       case when counted.about then greatest(counted.runs, likely.runs) else counted.runs end as runs
from counted left join likely using (state)
order by counted.state

-- name: progress_of_trials
-- What these trials said by step while they ran; of one metric at most so many points, the newest.
select given.place - 1 as place, point.metric, point.step, point.value, {milliseconds: point.at} as at_ms
from unnest($1::text[], $2::text[]) with ordinality as given (run_id, trial_id, place)
join cerebros_model_runs run on run.run_id = given.run_id
cross join lateral (
    select metric, step, value, at from cerebros_trial_metrics held
    where held.model_run_id = run.id and held.trial_id = given.trial_id
    order by at desc limit $3) as point
order by given.place, point.metric, point.step nulls first

-- fragment: trial_and_link
-- What is mirrored of a trial, and its link on a server.
run.run_id, trial.trial_id, trial.id::text as row_id, trial.status, trial.metrics, trial.parameters,
       trial.spectral_norm, trial.mlflow_run_id as reported_run, trial.artifact_uri, trial.duration_ms, trial.rank,
       trial.warnings, trial.candidate_id, trial.pulse_id, trial.error_message, trial.error_type, trial.stacktrace,
       trial.revision, {milliseconds: trial.source_timestamp} as time_ms,
       link.key, link.state, link.detail, link.mlflow_run_id, link.experiment_id, link.reported, link.synced_ms,
       link.synced_revision

-- name: trials_to_mirror
-- A page of the trials that MLflow shall hold, in a stable order, with their links on a server; $2 and $3 end the page before.
select {trial_and_link}
from cerebros_model_trials trial
join cerebros_model_runs run on run.id = trial.model_run_id
left join mlflow_links link on link.server = $1 and link.run_id = run.run_id and link.trial_id = trial.trial_id
where trial.id > $2::text::uuid and trial.status in ('succeeded', 'failed') and trial.revision > 0
order by trial.id limit $3

-- name: failing_trials
-- Trials at which a server failed, and which were not tried again for so many seconds; each looked up by its key, as `trial_held` is.
select {trial_and_link}
from mlflow_links link
join cerebros_model_runs run on run.run_id = link.run_id
join lateral (
    select * from cerebros_model_trials one where one.model_run_id = run.id and one.trial_id = link.trial_id offset 0
) trial on true
where link.server = $1 and link.state = 'failing' and link.updated_at < clock_timestamp() - make_interval(secs => $2)
  and trial.status in ('succeeded', 'failed') and trial.revision > 0
order by link.updated_at limit $3

-- name: trials_to_mirror_count
-- How many trials MLflow shall hold.
select count(*) as number from cerebros_model_trials where status in ('succeeded', 'failed') and revision > 0

-- name: doubled_runs
-- Which of these MLflow runs the mirror made for a trial whose link on a server names another one of its own.
select given.mlflow_run_id
from unnest($2::text[], $3::uuid[], $4::text[], $5::boolean[]) as given (mlflow_run_id, id, key, filled)
join mlflow_links link on link.server = $1 and link.id = given.id
where link.mlflow_run_id <> given.mlflow_run_id and not link.reported and (given.filled or link.key = given.key)

-- name: linked_experiments
-- Experiments that hold linked runs of a server.
select distinct experiment_id from mlflow_links where server = $1 and experiment_id is not null and not reported
