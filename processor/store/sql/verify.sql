-- name: compare_reports
-- Reports of different trials beside the rows held, in their order; reads only. `verdict` is what apply_reports would say; `position` is 1 where the report is newer than the row (or the row has no position), 0 where the row holds this very report, -1 where the report is older; `fields` are those of the content that differ.
select run.id is not null as run_known,
       held.id is not null as held,
       held.revision,
       held.source_topic, held.source_partition, held.source_offset, held.source_index,
       {verdict} as verdict,
       case when {incoming_position} < {held_position} then -1
            when {incoming_position} = {held_position} then 0
            else 1 end as position,
       array_remove(array[
           {fields: case when incoming.%name is distinct from held.%name::%type then '%name' end},
           case when (incoming.bridge_payload -> 'extra', incoming.bridge_payload -> 'envelope') is distinct from
                     (held.bridge_payload -> 'extra', held.bridge_payload -> 'envelope') then 'bridge_payload' end
       ], null) as fields
from {incoming}
left join cerebros_model_runs run on run.run_id = incoming.run_id
left join lateral ({trial_held}) held on true
order by incoming.place

-- name: dead_letters_between
-- The dead letters of topic $1 from the offsets $3 to before $4 of the partitions $2; `open` are those not yet resolved.
select record."partition", record."offset",
       {milliseconds: record.record_timestamp} as timestamp_ms, {record_digest} as digest,
       letter.report_index, letter.resolved_at is null as open
from unnest($2::integer[], $3::bigint[], $4::bigint[]) as span (partition, first, next)
join dead_letter_records record
    on record.topic = $1 and record."partition" = span.partition
   and record."offset" >= span.first and record."offset" < span.next
join dead_letters letter on letter.record_id = record.id
