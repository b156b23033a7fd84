-- A rejected record is told by its bytes, too: where a topic is made anew and its senders set the timestamps, another
-- record may stand at the same place, and was taken for the one that is stored. The expression is that of the fragment
-- `record_digest`; no column, so that no record is written again.
-- index: dead_letter_records_one_a_record
create unique index concurrently dead_letter_records_one_a_record on dead_letter_records
    (topic, "partition", "offset", record_timestamp,
     sha256(int4send(coalesce(length(key), -1)) || int4send(coalesce(length(value), -1))
            || coalesce(key, '') || coalesce(value, '')));

-- step: the key without the bytes goes
do $do$
declare
    old text;
begin
    for old in select conname from pg_constraint
               where conrelid = 'dead_letter_records'::regclass and contype = 'u'
    loop
        execute format('alter table dead_letter_records drop constraint %I', old);
    end loop;
end $do$;
