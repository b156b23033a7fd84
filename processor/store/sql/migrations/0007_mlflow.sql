-- step: which MLflow run belongs to which trial
-- `id` is a UUIDv5 of run and trial, so that it is short whatever they are; `trial_id` is '' for the run itself.
-- `server` is what a tracking server is recognised by: one that comes back with another database has links of its own.
-- No foreign key: what is in MLflow stays there when a row goes.
create table if not exists mlflow_links (
    server           text not null,
    id               uuid not null,
    run_id           text not null,
    trial_id         text not null,
    key              text not null,
    experiment_id    text,
    mlflow_run_id    text,
    reported         boolean not null default false,
    state            text not null default 'pending',
    detail           text,
    synced_ms        bigint,
    synced_revision  bigint,
    shape            text,
    superseded       text,
    held             text[] not null default '{}',
    uncertain_since  timestamptz,
    inserted_at      timestamptz not null default clock_timestamp(),
    updated_at       timestamptz not null default clock_timestamp(),
    primary key (server, id)
);
-- hash: ids may be longer than a btree's entry
create index if not exists mlflow_links_run on mlflow_links using hash (run_id);
create index if not exists mlflow_links_trial on mlflow_links using hash (trial_id);
create index if not exists mlflow_links_uncertain on mlflow_links (uncertain_since) where uncertain_since is not null;
create index if not exists mlflow_links_failing on mlflow_links (updated_at) where state = 'failing';

-- step: tracking servers that were mirrored into
create table if not exists mlflow_servers (
    server       text primary key,
    tracking_uri text not null,
    first_seen   timestamptz not null default clock_timestamp(),
    last_seen    timestamptz not null default clock_timestamp()
);
