-- name: commit_durably
-- Offsets are committed once Postgres says that rows are: a server or role where that is not yet true (off) would lose them.
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'

-- name: dropped_settings
-- Which settings $1 of this session are not $2, and what they are. Set for this statement alone, a value comes back as the server writes it: 30000 as 30s.
with tried as materialized (
    select name, current_setting(name) as held, set_config(name, wanted, true) as wanted
    from unnest($1::text[], $2::text[]) as asked (name, wanted)
)
select name, held from tried where held <> wanted order by name

-- name: set_settings
-- Settings $1 of this session are $2 from now on.
select set_config(name, wanted, false) from unnest($1::text[], $2::text[]) as asked (name, wanted)

-- name: lock_runs
-- Locks the runs of a batch, in one order for everybody, so that one transaction at a time judges the trials of a run.
select run_id, id::text from cerebros_model_runs where run_id = any($1::text[]) order by run_id for no key update

-- name: lock_free_runs
-- Locks those of the runs that nobody else holds.
select run_id, id::text from cerebros_model_runs
where run_id = any($1::text[]) order by run_id for no key update skip locked

-- name: lock_trials
-- What each write takes of the table by itself: whoever waits for it meets a lock on the table, and not on a run.
lock table cerebros_model_trials in row exclusive mode

-- name: runs_there
-- Which of these runs there are, whoever holds them.
select run_id from cerebros_model_runs where run_id = any($1::text[])

-- name: create_runs
-- Creates runs that nobody has announced; another process may just have done the same.
insert into cerebros_model_runs (id, run_id, state, started_at, inserted_at, updated_at)
select gen_random_uuid(), run_id, 'running', now(), now(), now()
from unnest($1::text[]) as run_id
order by run_id
on conflict (run_id) do nothing

-- name: look_at_trials
-- Which of these trials have a row, and which report each row holds: its position (milliseconds since the epoch, partition, offset, place in the record; null: none known) and the digest of what it was made from.
select coalesce(array_agg(given.place - 1), '{}') as places,
       coalesce(array_agg(encode(uuid_send(held.source_digest), 'hex')), '{}') as digests,
       coalesce(array_agg({milliseconds: held.source_timestamp}), '{}') as timestamps,
       coalesce(array_agg(held.source_partition), '{}') as partitions,
       coalesce(array_agg(held.source_offset), '{}') as offsets,
       coalesce(array_agg(held.source_index), '{}') as indices
from unnest($1::text[]::uuid[], $2::text[]) with ordinality as given (model_run_id, trial_id, place)
join cerebros_model_trials held on held.model_run_id = given.model_run_id and held.trial_id = given.trial_id

-- name: apply_reports
-- Judges reports of different trials against the rows held and applies them: 0 inserted, 1 changed, 2 touched (equal but newer: only the position moves), 3 equal, 4 older. Returns what was not simply inserted.
with judged as materialized (
    select incoming.*,
           {moment: incoming.source_timestamp_ms} as source_timestamp,
           run.id as model_run_id,
           held.id as held_id,
           held.revision as held_revision,
           -- other programs keep keys of their own in bridge_payload; ours are replaced, theirs stay
           case when held.id is null then incoming.bridge_payload
                else (coalesce(held.bridge_payload, '{}') - 'extra' - 'envelope') || incoming.bridge_payload end as payload,
           {verdict} as verdict
    from {incoming}
    join cerebros_model_runs run on run.run_id = incoming.run_id
    left join lateral ({trial_held}) held on true
),
inserted as (
    insert into cerebros_model_trials (
        model_run_id, trial_id, {fields: %name}, bridge_payload, source_digest, schema_version, revision,
        source_topic, source_partition, source_offset, source_index, source_timestamp, spectral_norm_reported,
        inserted_at, updated_at)
    select model_run_id, trial_id, {fields: %name}, bridge_payload, source_digest, schema_version, 1,
           source_topic, source_partition, source_offset, source_index, source_timestamp, spectral_norm_reported,
           now(), now()
    from judged where verdict = 0
),
changed as (
    update cerebros_model_trials held
    set {fields: %name = judged.%name},
        bridge_payload = judged.payload, source_digest = judged.source_digest, schema_version = judged.schema_version,
        revision = held.revision + 1, source_topic = judged.source_topic, source_partition = judged.source_partition,
        source_offset = judged.source_offset, source_index = judged.source_index,
        source_timestamp = judged.source_timestamp, spectral_norm_reported = judged.spectral_norm_reported,
        updated_at = now()
    from judged where judged.verdict = 1 and held.id = judged.held_id
),
touched as (
    update cerebros_model_trials held
    set source_digest = judged.source_digest, source_topic = judged.source_topic,
        source_partition = judged.source_partition, source_offset = judged.source_offset,
        source_index = judged.source_index, source_timestamp = judged.source_timestamp,
        spectral_norm_reported = judged.spectral_norm_reported
    from judged where judged.verdict = 2 and held.id = judged.held_id
),
-- nothing changed but the rules that the row was made by (or somebody's hand, to and fro): the next look settles it
recognised as (
    update cerebros_model_trials held
    set source_digest = judged.source_digest, spectral_norm_reported = judged.spectral_norm_reported
    from judged where judged.verdict = 3 and held.id = judged.held_id
        and judged.source_digest is not null and held.source_digest is distinct from judged.source_digest
)
select coalesce(array_agg(place - 1) filter (where verdict <> 0), '{}') as places,
       coalesce(array_agg(verdict) filter (where verdict <> 0), '{}') as verdicts,
       coalesce(array_agg(held_revision + 1) filter (where verdict <> 0), '{}') as revisions
from judged

-- name: leap_reports
-- Gives rows what the last of many reports of their trial leaves, $2 revisions further on; returns the revision that each row has now. A row that somebody has deleted meanwhile is not among them.
update cerebros_model_trials held
set {fields: %name = incoming.%name},
    bridge_payload = (coalesce(held.bridge_payload, '{}') - 'extra' - 'envelope') || incoming.bridge_payload,
    source_digest = incoming.source_digest, schema_version = incoming.schema_version,
    revision = held.revision + leap.revisions, source_topic = incoming.source_topic,
    source_partition = incoming.source_partition, source_offset = incoming.source_offset,
    source_index = incoming.source_index, source_timestamp = {moment: incoming.source_timestamp_ms},
    spectral_norm_reported = incoming.spectral_norm_reported, updated_at = now()
from {incoming}
join unnest($2::integer[]) with ordinality as leap (revisions, place) on leap.place = incoming.place
join cerebros_model_runs run on run.run_id = incoming.run_id
cross join lateral ({trial_held}) found
where held.id = found.id
returning incoming.place - 1 as place, held.revision

-- name: insert_dead_letter_records
-- Keeps the original bytes of rejected records, once each: a record is the same that has the same bytes at the same place.
insert into dead_letter_records (topic, "partition", "offset", record_timestamp, key, value, headers)
select topic, "partition", "offset", {moment: ms}, key, value, headers
from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[], $7::jsonb[])
     as x (topic, "partition", "offset", ms, key, value, headers)
order by topic, "partition", "offset", ms, value
on conflict do nothing

-- name: insert_dead_letters
-- Stores rejections that are not stored yet; returns those by their place, so that each leaves for the dead letter topic once. One that was resolved and is rejected once more is unresolved again: what resolved it no longer holds.
with given as materialized (
    select x.place, record.id as record_id, x.report_index, x.reason, x.detail, x.path
    from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bytea[], $6::integer[], $7::text[],
                $8::text[], $9::text[]) with ordinality
         as x (topic, "partition", "offset", ms, digest, report_index, reason, detail, path, place)
    join dead_letter_records record
        on (record.topic, record."partition", record."offset") = (x.topic, x."partition", x."offset")
       and record.record_timestamp = {moment: x.ms} and {record_digest} = x.digest
),
stored as (
    insert into dead_letters as letter (record_id, report_index, reason, detail, path)
    select record_id, report_index, reason, detail, path from given
    order by record_id, report_index
    on conflict (record_id, report_index) do update
        set resolved_at = null, attempts = letter.attempts + 1, last_seen = now(), last_detail = excluded.detail
        where letter.resolved_at is not null
    returning id, record_id, report_index, attempts
)
select stored.id, given.place - 1 as place
from stored join given using (record_id, report_index)
where stored.attempts = 1

-- name: insert_outbox
-- Hands packets of messages to the relay, and wakes it when the transaction commits.
with handed as (
    insert into outbox (id, messages, payload) select * from unnest($1::uuid[], $2::integer[], $3::bytea[])
)
select pg_notify({channel}, '')
