"""The two tables as other programs made them before this processor, with rows in them."""

from __future__ import annotations

from benchmarks.migrating import TABLES

_ROWS = """
insert into cerebros_model_runs (
    id, run_id, state, search_space_version, max_params, requested_trials, completed_trials, metadata, bridge_payload,
    bridge_result, inserted_at, updated_at) values
    ('00000000-0000-0000-0000-000000000001', 'run-a', 'running', 1, 2000000, 3, 2, '{"by": "them"}', '{}', '{}',
     '2025-10-06 12:00:00', '2025-10-06 12:00:00'),
    ('00000000-0000-0000-0000-000000000002', 'run-b', 'failed', 2, 100, 1, 0, '{}', '{"spec": {"x": [1, null]}}', '{}',
     '2025-10-06 12:00:01', '2025-10-06 12:00:02');
insert into cerebros_model_trials (id, model_run_id, trial_id, status, metrics, parameters, warnings, bridge_payload,
                                   inserted_at, updated_at) values
    ('00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-000000000001', 'trial_1', 'succeeded',
     '{"accuracy": 0.5}', '{"lr": 0.1}', '{w}', '{"worker": "elixir"}', '2025-10-06 12:00:00', '2025-10-06 12:00:00'),
    ('00000000-0000-0000-0000-0000000000a2', '00000000-0000-0000-0000-000000000001', 'trial_2', 'succeeded',
     '{"accuracy": 1e-300}', '{}', '{}', '{}', '2025-10-06 12:00:00', '2025-10-06 12:00:00'),
    ('00000000-0000-0000-0000-0000000000b1', '00000000-0000-0000-0000-000000000002', 'trial_1', 'failed',
     '{}', '{}', '{"ö","a,b"}', '{}', '2025-10-06 12:00:00', '2025-10-06 12:00:00');
"""

#: every column and default that the tables are documented with, and an index of each name that we would use
AS_DESIGNED = (
    """
create table cerebros_model_runs (
    id uuid primary key default gen_random_uuid(), run_id text not null unique,
    state text not null default 'initialized'
        check (state in ('initialized', 'running', 'succeeded', 'failed', 'cancelled')),
    search_space_version int not null default 1, max_params int not null default 2000000,
    requested_trials int not null default 3, completed_trials int not null default 0, best_metric double precision,
    error_message text, metadata jsonb default '{}', bridge_payload jsonb default '{}',
    bridge_result jsonb default '{}', started_at timestamptz, finished_at timestamptz,
    inserted_at timestamptz not null default now(), updated_at timestamptz not null default now());
create table cerebros_model_trials (
    id uuid primary key default gen_random_uuid(),
    model_run_id uuid not null references cerebros_model_runs (id) on delete cascade, trial_id text not null,
    status text not null, metrics jsonb default '{}', parameters jsonb default '{}',
    spectral_norm boolean not null default false, mlflow_run_id text, artifact_uri text, duration_ms bigint,
    rank bigint, warnings text[] default '{}', candidate_id text, pulse_id text, bridge_payload jsonb default '{}',
    inserted_at timestamptz not null default now(), updated_at timestamptz not null default now());
create index cerebros_model_trials_status_index on cerebros_model_trials (status);
create index cerebros_model_trials_spectral_norm_index on cerebros_model_trials (spectral_norm);
create index cerebros_model_trials_mlflow_run_id_index on cerebros_model_trials (mlflow_run_id);
"""
    + _ROWS
)

#: from before spectral normalisation, by an Ecto migration: ids and defaults are the application's, strings are
#: varchar, times have no zone, much may be null, and an index has the name Ecto gives to a unique one but is not unique
AS_ECTO = (
    TABLES
    + """
create unique index cerebros_model_runs_run_id_index on cerebros_model_runs (run_id);
create index cerebros_model_trials_model_run_id_trial_id_index on cerebros_model_trials (model_run_id, trial_id);
create index cerebros_model_trials_status_index on cerebros_model_trials (status);
"""
    + _ROWS
    + """
insert into cerebros_model_trials (id, model_run_id, trial_id, status, inserted_at, updated_at)
    select gen_random_uuid(), '00000000-0000-0000-0000-000000000001', null, null, now(), now()
    from generate_series(1, 2);
"""
)

LEGACY = {"as designed": AS_DESIGNED, "as Ecto made it": AS_ECTO}
