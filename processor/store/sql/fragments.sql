-- fragment: incoming
-- Reports as JSON, $1, one row each with its place; what a report says is named as the columns are.
rows from (jsonb_to_recordset($1::jsonb) as (
         run_id text, trial_id text, {fields: %name %type}, bridge_payload jsonb, source_digest uuid,
         schema_version integer, source_topic text, source_partition integer, source_offset bigint,
         source_index integer, source_timestamp_ms bigint, spectral_norm_reported boolean)
     ) with ordinality as incoming (
         run_id, trial_id, {fields: %name}, bridge_payload, source_digest, schema_version, source_topic,
         source_partition, source_offset, source_index, source_timestamp_ms, spectral_norm_reported, place)

-- fragment: trial_held
-- The row of an incoming report's trial, looked up by its key. As a plain join Postgres may look it up by the run alone, through all trials of that: it takes those for cached, and in a table that was not analysed yet for few. OFFSET 0 keeps the lookup what it is.
select * from cerebros_model_trials one where one.model_run_id = run.id and one.trial_id = incoming.trial_id offset 0

-- fragment: incoming_position
-- Where an incoming report stands in the order of all reports.
({moment: incoming.source_timestamp_ms},
 incoming.source_partition, incoming.source_offset, incoming.source_index)

-- fragment: held_position
-- Where the report that a row holds stands; all null where the row is from before this processor.
(held.source_timestamp, held.source_partition, held.source_offset, held.source_index)

-- fragment: verdict
-- What an incoming report does to the row held; `processor.core.verdict` is its twin in Python, and one test holds both to the same cases. Other programs keep keys of their own in bridge_payload: only ours are compared. A table of theirs may have other types (varchar, integer): they are compared as ours.
case
    when held.id is null then 0 -- inserted
    when {incoming_position} < {held_position} then 4 -- stale
    when ({fields: incoming.%name},
          incoming.bridge_payload -> 'extra', incoming.bridge_payload -> 'envelope')
         is distinct from
         ({fields: held.%name::%type},
          held.bridge_payload -> 'extra', held.bridge_payload -> 'envelope') then 1 -- changed
    when {incoming_position} is distinct from {held_position} then 2 -- touched
    else 3 -- unchanged
end

-- fragment: record_digest
-- What tells a rejected record from another at the same place; `store.rejections.digest_of` is its twin in Python.
sha256(int4send(coalesce(length(record.key), -1)) || int4send(coalesce(length(record.value), -1))
       || coalesce(record.key, '') || coalesce(record.value, ''))

-- fragment: selected
-- The conditions of a `store.dead_letters.Selection`, $1 to $5.
($1::text is null or reason = $1)
  and ($2::bigint is null or first_seen >= {moment: $2})
  and ($3::bigint[] is null or id = any($3)) and ($4 or resolved_at is null) and id <= $5

-- fragment: channel
-- Where news of this outbox come, in one schema of the database and no other.
('cerebros_outbox_' || 'outbox'::regclass::oid)

-- fragment: sampled_pages
-- How many in a hundred of the pages of a table that has so many `bytes` are looked at, for a sample of some 1,000 pages: as many as tell a share to some hundredths. By its bytes, since what the planner thinks of its rows may be of an hour ago, or of never.
least(100, 100 * 1000.0 * current_setting('block_size')::integer / greatest(bytes, 1))
