-- The two tables that other programs already read, with the names and columns they had before this processor.
-- A table that is there keeps its rows, its types and its indexes; only columns that it lacks are added, such as
-- spectral_norm and mlflow_run_id, which are younger than the rest. (A default that is the same for all rows is kept in
-- the catalogue: no row is written again, and the lock is a short one.)

-- step: the table of runs
create table if not exists cerebros_model_runs (
    id     uuid primary key default gen_random_uuid(),
    run_id text not null
);

-- step: the state of the runs
-- (a constraint that is checked at once would look at all rows under the strongest lock)
do $$
begin
    if not exists (select from pg_attribute where attrelid = 'cerebros_model_runs'::regclass
                   and attname = 'state' and not attisdropped) then
        alter table cerebros_model_runs
            add column state text not null default 'initialized',
            add constraint cerebros_model_runs_known_state
                check (state in ('initialized', 'running', 'succeeded', 'failed', 'cancelled')) not valid;
    end if;
end $$;

-- step: the state of the runs is checked
do $$
begin
    if exists (select from pg_constraint where conrelid = 'cerebros_model_runs'::regclass
               and conname = 'cerebros_model_runs_known_state' and not convalidated) then
        alter table cerebros_model_runs validate constraint cerebros_model_runs_known_state;
    end if;
end $$;

-- step: the columns of the runs
alter table cerebros_model_runs
    add column if not exists search_space_version integer not null default 1,
    add column if not exists max_params           integer not null default 2000000,
    add column if not exists requested_trials     integer not null default 3,
    add column if not exists completed_trials     integer not null default 0,
    add column if not exists best_metric          double precision,
    add column if not exists error_message        text,
    add column if not exists metadata             jsonb not null default '{}',
    add column if not exists bridge_payload       jsonb not null default '{}',
    add column if not exists bridge_result        jsonb not null default '{}',
    add column if not exists started_at           timestamptz,
    add column if not exists finished_at          timestamptz,
    add column if not exists inserted_at          timestamptz not null default now(),
    add column if not exists updated_at           timestamptz not null default now();

-- step: the table of trials
create table if not exists cerebros_model_trials (
    id           uuid primary key,
    model_run_id uuid not null references cerebros_model_runs (id) on delete cascade,
    trial_id     text not null,
    status       text not null
);

-- step: the columns of the trials
alter table cerebros_model_trials
    add column if not exists metrics        jsonb not null default '{}',
    add column if not exists parameters     jsonb not null default '{}',
    add column if not exists spectral_norm  boolean not null default false,
    add column if not exists mlflow_run_id  text,
    add column if not exists artifact_uri   text,
    add column if not exists duration_ms    bigint,
    add column if not exists rank           bigint,
    add column if not exists warnings       text[] not null default '{}',
    add column if not exists candidate_id   text,
    add column if not exists pulse_id       text,
    add column if not exists bridge_payload jsonb not null default '{}',
    add column if not exists inserted_at    timestamptz not null default now(),
    add column if not exists updated_at     timestamptz not null default now();

-- index: cerebros_model_trials_status_index
create index concurrently cerebros_model_trials_status_index on cerebros_model_trials (status);

-- index: cerebros_model_trials_spectral_norm_index
create index concurrently cerebros_model_trials_spectral_norm_index on cerebros_model_trials (spectral_norm);

-- index: cerebros_model_trials_mlflow_run_id_index
create index concurrently cerebros_model_trials_mlflow_run_id_index on cerebros_model_trials (mlflow_run_id);
