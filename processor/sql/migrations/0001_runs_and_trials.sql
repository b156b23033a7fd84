-- The two tables that other programs already read, with the names and columns they had before this processor.
-- On a database that already holds them nothing is created and no row is touched; 0002 adds what is missing.

create table if not exists cerebros_model_runs (
    id                   uuid primary key default gen_random_uuid(),
    run_id               text not null unique,
    state                text not null default 'initialized'
                         check (state in ('initialized', 'running', 'succeeded', 'failed', 'cancelled')),
    search_space_version integer not null default 1,
    max_params           integer not null default 2000000,
    requested_trials     integer not null default 3,
    completed_trials     integer not null default 0,
    best_metric          double precision,
    error_message        text,
    metadata             jsonb not null default '{}',
    bridge_payload       jsonb not null default '{}',
    bridge_result        jsonb not null default '{}',
    started_at           timestamptz,
    finished_at          timestamptz,
    inserted_at          timestamptz not null default now(),
    updated_at           timestamptz not null default now()
);

create table if not exists cerebros_model_trials (
    id             uuid primary key default gen_random_uuid(),
    model_run_id   uuid not null references cerebros_model_runs (id) on delete cascade,
    trial_id       text not null,
    status         text not null,
    metrics        jsonb not null default '{}',
    parameters     jsonb not null default '{}',
    spectral_norm  boolean not null default false,
    mlflow_run_id  text,
    artifact_uri   text,
    duration_ms    bigint,
    rank           bigint,
    warnings       text[] not null default '{}',
    candidate_id   text,
    pulse_id       text,
    bridge_payload jsonb not null default '{}',
    inserted_at    timestamptz not null default now(),
    updated_at     timestamptz not null default now()
);

create index if not exists cerebros_model_trials_status_index on cerebros_model_trials (status);
create index if not exists cerebros_model_trials_spectral_norm_index on cerebros_model_trials (spectral_norm);
create index if not exists cerebros_model_trials_mlflow_run_id_index on cerebros_model_trials (mlflow_run_id);
