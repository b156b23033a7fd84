-- name: unresolved_in_spans
-- Where records of these topic partitions and offset ranges have unresolved dead letters, $5 a span at the most. `limit` and `bool_or` keep the planner to one look at the right index: a plan made while the tables were empty must stay good when they are not.
select span.topic, span."partition", found."offset"
from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) as span (topic, "partition", first, last)
cross join lateral (
    select record."offset"
    from dead_letter_records record
    where record.topic = span.topic and record."partition" = span."partition"
      and record."offset" between span.first and span.last
      and (select bool_or(letter.resolved_at is null) from dead_letters letter where letter.record_id = record.id)
    limit $5
) as found

-- name: resolve_written
-- Marks the dead letters of these reports as resolved; `limit` is there for the same reason.
update dead_letters
set resolved_at = now()
where id = any (array(
    select letter.id
    from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bytea[], $6::integer[])
         as x (topic, "partition", "offset", ms, digest, report_index)
    cross join lateral (
        select record.id from dead_letter_records record
        where (record.topic, record."partition", record."offset") = (x.topic, x."partition", x."offset")
          and record.record_timestamp = {moment: x.ms} and {record_digest} = x.digest
        limit 1
    ) as record
    cross join lateral (
        select l.id from dead_letters l
        where l.record_id = record.id and l.report_index = x.report_index and l.resolved_at is null
        limit 1
    ) as letter
))

-- name: resolve_letters
-- Marks these dead letters as resolved.
update dead_letters set resolved_at = now() where id = any($1::bigint[]) and resolved_at is null

-- name: count_attempts
-- One more failed attempt of these dead letters, counted from what was read: said twice, it counts once. The first failure stays.
update dead_letters letter
set attempts = greatest(letter.attempts, x.attempts + 1), last_seen = now(), last_detail = x.detail
from unnest($1::bigint[], $2::integer[], $3::text[]) as x (id, attempts, detail)
where letter.id = x.id and letter.resolved_at is null

-- name: dead_letter_groups
-- Dead letters by reason, the largest group first, each with its latest one as the example; resolved ones too where $1.
with groups as (
    select reason, count(*) as count, count(resolved_at) as resolved, min(first_seen) as first_seen,
           max(last_seen) as last_seen, max(id) as example_id
    from dead_letters where $1 or resolved_at is null group by reason
)
select groups.*, letter.detail as example
from groups join dead_letters letter on letter.id = groups.example_id
order by count desc, reason

-- name: dead_letter_reasons
-- Unresolved dead letters by reason, the most first, in a time that does not grow with them: where there are $1 of a reason, "about" so many (the share of a sample of pages times all); the newest thousand tell when the reason was last seen. Both look along the index and sort out what is of another reason afterwards: asked for one reason, Postgres takes it for as frequent as any, and looks for the few of it through all.
with recursive reasons (reason) as (
    select min(reason) from dead_letters where resolved_at is null
    union all
    select (select min(letter.reason) from dead_letters letter
            where letter.resolved_at is null and letter.reason > reasons.reason)
    from reasons where reasons.reason is not null
), counted as (
    select reason, bounded.count, bounded.count >= $1 as about, newest.last_seen
    from reasons
    cross join lateral (
        select count(*) filter (where one.reason = reasons.reason) as count from (
            select letter.reason from dead_letters letter
            where letter.resolved_at is null and (letter.reason, letter.id) >= (reasons.reason, 0)
            order by letter.reason, letter.id limit $1) as one) as bounded
    cross join lateral (
        select max(last_seen) filter (where one.reason = reasons.reason) as last_seen from (
            select letter.reason, letter.last_seen from dead_letters letter
            where letter.resolved_at is null and (letter.reason, letter.id) <= (reasons.reason, 9223372036854775807)
            order by letter.reason desc, letter.id desc limit 1000) as one) as newest
    where reason is not null
), pages as (
    select case when exists (select from counted where about) then {sampled_pages} else 0 end::real as percent
    from pg_relation_size('dead_letters') as bytes
), likely as (
    select reason, (count(*) * 100 / (select percent from pages))::bigint as letters
    from dead_letters tablesample system ((select percent from pages)) repeatable (0)
    where resolved_at is null
    group by reason
)
select counted.reason, counted.about, counted.last_seen,
       case when counted.about then greatest(counted.count, likely.letters) else counted.count end as count
from counted left join likely using (reason)
order by count desc, reason

-- name: dead_letter_list
-- The latest dead letters with the reason $1, at most $3; resolved ones too where $2.
select letter.id, letter.reason, record.topic, record."partition", record."offset", letter.report_index, letter.path,
       letter.detail, letter.attempts, letter.first_seen, letter.last_seen, letter.resolved_at
from dead_letters letter join dead_letter_records record on record.id = letter.record_id
where letter.reason = $1 and ($2 or letter.resolved_at is null)
order by letter.id desc
limit $3

-- name: dead_letter_bound
-- The latest dead letter there is.
select coalesce(max(id), 0) as id from dead_letters

-- name: dead_letters_known
-- Which of these dead letters there are.
select id, resolved_at from dead_letters where id = any($1::bigint[])

-- name: dead_letter_count
-- How many dead letters a selection holds.
select count(*) as count
from dead_letters
where {selected}

-- name: dead_letter_page
-- The next $8 dead letters of a selection behind (record $6, report $7), those of one record together; without the bytes, which may be many.
select letter.*, record.topic, record."partition", record."offset",
       {milliseconds: record.record_timestamp} as timestamp_ms,
       (coalesce(octet_length(record.value), 0) + coalesce(octet_length(record.key), 0)
        + octet_length(record.headers::text))::bigint as bytes
from (
    select * from dead_letters
    where {selected}
      and (record_id, report_index) > ($6::bigint, $7::integer)
    order by record_id, report_index
    limit $8
) as letter
join dead_letter_records record on record.id = letter.record_id
order by letter.record_id, letter.report_index

-- name: dead_letter_bytes
-- What these records hold.
select id, key, value, headers from dead_letter_records where id = any($1::bigint[])
