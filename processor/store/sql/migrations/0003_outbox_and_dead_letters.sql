-- step: outbox and dead letters
-- outbox: what the relay has yet to publish. One row is a packet: all messages of one transaction (or a part of them,
-- 384 KiB), msgpack, in order. Row by row the outbox cost more than the trials themselves.
-- `id` is what Kafka remembers of a published packet: random, so that a restored database never reuses one;
-- `seq` only orders what can be seen, no reader remembers how far it got.
create table outbox (
    seq        bigint generated always as identity primary key,
    id         uuid not null unique,
    messages   integer not null,
    payload    bytea not null,
    created_at timestamptz not null default clock_timestamp()
);
-- the payload is JSON inside msgpack, read once and deleted: compressing it costs more than the bytes
alter table outbox alter column payload set storage external;

-- messages that the broker will never take, until a person has mended the cause (`processor parked publish`)
create table outbox_parked (
    id          bigint generated always as identity primary key,
    name        text not null,
    destination text not null,
    error       text not null,
    message     bytea not null,
    parked_at   timestamptz not null default clock_timestamp()
);

-- The record a rejection came from, stored once however many of its reports were rejected.
create table dead_letter_records (
    id               bigint generated always as identity primary key,
    topic            text not null,
    "partition"      integer not null,
    "offset"         bigint not null,
    record_timestamp timestamptz not null,
    key              bytea,
    value            bytea,
    headers          jsonb not null default '[]',
    -- the timestamp too: a topic that is made anew starts again at offset 0
    unique (topic, "partition", "offset", record_timestamp)
);

-- `report_index` is the report's place in its record, -1 where the record as a whole was rejected
create table dead_letters (
    id           bigint generated always as identity primary key,
    record_id    bigint not null references dead_letter_records (id) on delete cascade,
    report_index integer not null,
    reason       text not null,
    detail       text not null,
    path         text not null default '',
    attempts     integer not null default 1,
    first_seen   timestamptz not null default now(),
    last_seen    timestamptz not null default now(),
    last_detail  text,
    resolved_at  timestamptz,
    unique (record_id, report_index)
);
create index dead_letters_unresolved on dead_letters (reason, id) where resolved_at is null;
