-- name: try_become_relay
-- True when this session is the relay that publishes this outbox, and where news of it come: another schema of the database has its own.
select pg_try_advisory_lock($1::integer, 'outbox'::regclass::oid::integer) as leads, {channel} as channel

-- name: claim_packets
-- The oldest packets that can be seen. No position is remembered: a transaction that commits late is found late.
select id::text as id, messages, octet_length(payload) as bytes, payload
from (select *, sum(messages) over (order by seq) - messages as messages_before,
             sum(octet_length(payload)) over (order by seq) - octet_length(payload) as bytes_before
      from (select * from outbox order by seq limit $3) as oldest) as counted
where seq = (select min(seq) from outbox) or (messages_before + messages <= $1 and bytes_before + octet_length(payload) <= $2)
order by seq

-- name: delete_packets
-- What Kafka has is needed no more.
delete from outbox where id = any($1::uuid[])

-- name: rewrite_packet
-- A packet without the messages that were parked.
update outbox set messages = $2, payload = $3 where id = $1

-- name: park_message
-- Puts aside a message that the broker will never take.
insert into outbox_parked (message, name, destination, error) values ($1, $2, $3, $4)

-- name: first_parked
-- Of these trials those with a parked event, and the lowest revision that is parked of each. Two trials may share a name, run_id/trial_id, but not what their events begin with (msgpack: behind the byte that counts the fields).
select asked.beginning, min(parked.revision) as revision
from unnest($1::text[], $2::bytea[]) as asked (trial, beginning) join outbox_parked parked
     on parked.trial = asked.trial and substring(parked.message from 2 for octet_length(asked.beginning)) = asked.beginning
where parked.revision is not null
group by asked.beginning

-- name: parked_messages
-- What is parked, for people.
select id, name, destination, error, parked_at, wanted_at from outbox_parked order by id

-- name: want_parked
-- Marks all that is parked as wanted and wakes the relay, which alone puts it back: whoever else did would do it between two steps of its work.
with wanted as (
    update outbox_parked set wanted_at = coalesce(wanted_at, clock_timestamp()) returning id
)
select count(*) as number, pg_notify({channel}, '') from wanted

-- name: restore_parked
-- Puts marked messages back, as many as fit, each as a packet of its own (msgpack: a list of one), in order of revision and before all that waits: later events of their trials may be waiting there. Below 1, where no identity column counts; the next part comes when this one has left, or it would stand before it.
with ordered as (
    select id, sum(octet_length(message)) over (order by revision nulls first, id) - octet_length(message) as bytes_before
    from (select id, revision, message from outbox_parked
          where wanted_at is not null order by revision nulls first, id limit $1) as oldest
),
taken as (
    delete from outbox_parked
    where id in (select id from ordered where bytes_before < $2) and not exists (select from outbox where seq < 1)
    returning id, revision, message
),
handed as (
    insert into outbox (seq, id, messages, payload) overriding system value
    select 1 - row_number() over (order by revision desc nulls last, id desc), gen_random_uuid(), 1,
           '\x91'::bytea || message
    from taken
    returning seq
)
select count(*) as number from handed

-- name: relay_identity
-- Under which name and to which topics this outbox was published last; no row where it never was.
select transactional_id, events_topic, dead_letter_topic from relay_identity

-- name: write_identity
-- Under which name and to which topics it is published from now on.
insert into relay_identity (transactional_id, events_topic, dead_letter_topic) values ($1, $2, $3)
on conflict (only_one) do update
set transactional_id = excluded.transactional_id, events_topic = excluded.events_topic,
    dead_letter_topic = excluded.dead_letter_topic, since = clock_timestamp()
where (relay_identity.transactional_id, relay_identity.events_topic, relay_identity.dead_letter_topic)
      is distinct from (excluded.transactional_id, excluded.events_topic, excluded.dead_letter_topic)

-- name: outbox_depth
-- What waits for the relay, and for how long.
select count(*) as packets, coalesce(sum(messages), 0)::bigint as messages,
       greatest(0, extract(epoch from clock_timestamp() - min(created_at)))::double precision as oldest_age_s,
       (select count(*) from outbox_parked) as parked
from outbox
