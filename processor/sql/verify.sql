-- name: compare_reports
-- Reports of different trials beside the rows held, in their order; reads only. `position` is 1 where the report is newer than the row (or the row has no position), 0 where the row holds this very report, -1 where the report is older; `fields` are those of the content that differ, as apply_reports judges it.
select run.id is not null as run_known,
       held.id is not null as held,
       held.revision,
       held.source_topic, held.source_partition, held.source_offset, held.source_index,
       case
           when (timestamptz 'epoch' + incoming.source_timestamp_ms * interval '1 millisecond',
                 incoming.source_partition, incoming.source_offset, incoming.source_index)
                < (held.source_timestamp, held.source_partition, held.source_offset, held.source_index) then -1
           when (timestamptz 'epoch' + incoming.source_timestamp_ms * interval '1 millisecond',
                 incoming.source_partition, incoming.source_offset, incoming.source_index)
                = (held.source_timestamp, held.source_partition, held.source_offset, held.source_index) then 0
           else 1
       end as position,
       array_remove(array[
           case when incoming.status is distinct from held.status then 'status' end,
           case when incoming.metrics is distinct from held.metrics then 'metrics' end,
           case when incoming.parameters is distinct from held.parameters then 'parameters' end,
           case when incoming.spectral_norm is distinct from held.spectral_norm then 'spectral_norm' end,
           case when incoming.mlflow_run_id is distinct from held.mlflow_run_id then 'mlflow_run_id' end,
           case when incoming.artifact_uri is distinct from held.artifact_uri then 'artifact_uri' end,
           case when incoming.duration_ms is distinct from held.duration_ms then 'duration_ms' end,
           case when incoming.rank is distinct from held.rank then 'rank' end,
           case when incoming.warnings is distinct from held.warnings then 'warnings' end,
           case when incoming.candidate_id is distinct from held.candidate_id then 'candidate_id' end,
           case when incoming.pulse_id is distinct from held.pulse_id then 'pulse_id' end,
           -- other programs keep keys of their own in bridge_payload
           case when (incoming.bridge_payload -> 'extra', incoming.bridge_payload -> 'envelope') is distinct from
                     (held.bridge_payload -> 'extra', held.bridge_payload -> 'envelope') then 'bridge_payload' end
       ], null) as fields
from rows from (jsonb_to_recordset($1::jsonb) as (
         run_id text, trial_id text, status text, metrics jsonb, parameters jsonb, spectral_norm boolean,
         mlflow_run_id text, artifact_uri text, duration_ms bigint, rank bigint, warnings text[],
         candidate_id text, pulse_id text, bridge_payload jsonb, schema_version integer, source_topic text,
         source_partition integer, source_offset bigint, source_index integer, source_timestamp_ms bigint)
     ) with ordinality as incoming (
         run_id, trial_id, status, metrics, parameters, spectral_norm, mlflow_run_id, artifact_uri, duration_ms,
         rank, warnings, candidate_id, pulse_id, bridge_payload, schema_version, source_topic, source_partition,
         source_offset, source_index, source_timestamp_ms, place)
left join cerebros_model_runs run on run.run_id = incoming.run_id
left join cerebros_model_trials held on held.model_run_id = run.id and held.trial_id = incoming.trial_id
order by incoming.place

-- name: dead_letters_between
-- The dead letters of topic $1 from the offsets $3 to before $4 of the partitions $2; `open` are those not yet resolved.
select record."partition", record."offset",
       (extract(epoch from record.record_timestamp) * 1000)::bigint as timestamp_ms,
       letter.report_index, letter.resolved_at is null as open
from unnest($2::integer[], $3::bigint[], $4::bigint[]) as span (partition, first, next)
join dead_letter_records record
    on record.topic = $1 and record."partition" = span.partition
   and record."offset" >= span.first and record."offset" < span.next
join dead_letters letter on letter.record_id = record.id
