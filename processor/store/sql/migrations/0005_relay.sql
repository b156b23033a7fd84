-- step: whose outbox it is
-- Who publishes this outbox: the transactional id (which is also the group that remembers what was published) and the
-- topics. It belongs to the outbox and not to a process' settings: a relay whose settings differ first ends what was
-- begun under the name that is written here, and only then writes its own. One row.
create table if not exists relay_identity (
    only_one          boolean primary key default true check (only_one),
    transactional_id  text not null,
    events_topic      text not null,
    dead_letter_topic text not null,
    since             timestamptz not null default clock_timestamp()
);

-- step: what is parked, by trial and revision
-- `wanted_at`: a person wants it published; the leading relay then puts it back into the outbox.
-- The trial and revision of an event are made from its name, so that relays of an older version need not know them.
alter table outbox_parked
    add column if not exists wanted_at timestamptz,
    add column if not exists trial     text generated always as
        (case when destination = 'events' then regexp_replace(name, '#[0-9]+$', '') end) stored,
    add column if not exists revision  bigint generated always as
        (case when destination = 'events' then substring(name from '#([0-9]{1,18})$')::bigint end) stored;
-- hash: a name may be longer than a btree's entry
create index if not exists outbox_parked_trial on outbox_parked using hash (trial);
create index if not exists outbox_parked_wanted on outbox_parked (revision, id) where wanted_at is not null;
