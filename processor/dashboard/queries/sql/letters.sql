-- name: letters_of_record
-- Dead letters of the record at the position of a trial's report: its neighbours that were rejected.
select letter.id, letter.report_index, letter.reason, letter.detail, letter.path, letter.attempts, letter.first_seen,
       letter.last_seen, letter.resolved_at, count(*) over () as in_all
from dead_letter_records record join dead_letters letter on letter.record_id = record.id
where record.topic = $1 and record."partition" = $2 and record."offset" = $3 and record.record_timestamp = $4
order by letter.report_index
limit 100

-- name: letter_page
-- The $3 dead letters before the id $1, the newest first; those with the reason $2, where it is given, and resolved ones too where $4.
select letter.id, letter.reason, record.topic, record."partition", record."offset", letter.report_index, letter.path,
       left(letter.detail, 500) as detail, letter.attempts, letter.first_seen, letter.last_seen, letter.resolved_at
from dead_letters letter join dead_letter_records record on record.id = letter.record_id
where letter.id < $1 and ($2::text is null or letter.reason = $2) and ($4 or letter.resolved_at is null)
order by letter.id desc
limit $3

-- name: health
-- What waits to be published, how old it is, and how many messages nobody can publish.
select (select coalesce(sum(messages), 0)::bigint from outbox) as waiting,
       (select min(created_at) from outbox) as oldest,
       (select count(*) from outbox_parked) as parked,
       (select max(updated_at) from cerebros_model_runs) as run_changed_at, clock_timestamp() as now
