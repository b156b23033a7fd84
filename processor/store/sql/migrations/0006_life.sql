-- The life of runs and the progress of trials. What a start or a stop said, where it stood and which revision it made
-- is beside the run's row, which other programs read and write: that table stays as it is.

-- step: what runs said of their life
-- The newest start and the newest stop of a run; a stop goes when a newer start comes. The run's revision is the
-- greater of theirs.
create table if not exists cerebros_run_reports (
    model_run_id     uuid not null references cerebros_model_runs (id) on delete cascade,
    kind             text not null check (kind in ('start', 'stop')),
    revision         bigint not null,
    said             jsonb not null,
    rest             jsonb not null,
    schema_version   integer not null,
    source_topic     text not null,
    source_partition integer not null,
    source_offset    bigint not null,
    source_index     integer not null,
    source_timestamp timestamptz not null,
    primary key (model_run_id, kind)
);

-- step: what trials say before they end
-- The source is that of the newest start; all null, and so is started_at, where only metrics came.
create table if not exists cerebros_trial_progress (
    model_run_id     uuid not null references cerebros_model_runs (id) on delete cascade,
    trial_id         text not null,
    started_at       timestamptz,
    last_seen        timestamptz not null,
    spectral_norm    boolean,
    parameters       jsonb not null default '{}',
    rest             jsonb not null default '{}',
    source_partition integer,
    source_offset    bigint,
    source_index     integer,
    source_timestamp timestamptz,
    primary key (model_run_id, trial_id)
);

-- step: metrics by step
-- One row a step, and one for what came without a step. `at` is the timestamp of the record, and with the source the
-- order of what may replace what. `rest` is null where nothing else was said, as nearly always.
create table if not exists cerebros_trial_metrics (
    model_run_id     uuid not null references cerebros_model_runs (id) on delete cascade,
    trial_id         text not null,
    metric           text not null,
    step             bigint,
    value            double precision not null,
    at               timestamptz not null,
    source_partition integer not null,
    source_offset    bigint not null,
    source_index     integer not null,
    rest             jsonb
);
create unique index if not exists cerebros_trial_metrics_steps
    on cerebros_trial_metrics (model_run_id, trial_id, metric, coalesce(step, -1::bigint));
