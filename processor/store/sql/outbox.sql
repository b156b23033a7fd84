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

-- name: parked_events
-- Names (run_id/trial_id#revision) of parked events.
select name from outbox_parked where destination = 'events'

-- name: parked_messages
-- What is parked, for people.
select id, name, destination, error, parked_at from outbox_parked order by id

-- name: unpark
-- Puts parked messages back, each as a packet of its own (msgpack: a list of one), in their order and before all that waits: later events of their trials may be waiting there.
with taken as (
    delete from outbox_parked returning id, message
),
first as (
    select coalesce(min(seq), 0) as seq from outbox
),
handed as (
    insert into outbox (seq, id, messages, payload) overriding system value
    select first.seq - row_number() over (order by taken.id desc), gen_random_uuid(), 1, '\x91'::bytea || taken.message
    from taken, first
    returning seq
)
select count(*) as number, pg_notify({channel}, '') from handed

-- name: outbox_depth
-- What waits for the relay, and for how long.
select count(*) as packets, coalesce(sum(messages), 0)::bigint as messages,
       coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::double precision as oldest_age_s,
       (select count(*) from outbox_parked) as parked
from outbox
