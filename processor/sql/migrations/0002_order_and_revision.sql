-- What makes writes idempotent and ordered: one row a trial, its revision, and where the report it holds came from.
-- A row from before this processor has revision 0 and no position: any report may replace it.

alter table cerebros_model_trials
    add column if not exists schema_version   integer,
    add column if not exists revision         bigint not null default 0,
    add column if not exists source_topic     text,
    add column if not exists source_partition integer,
    add column if not exists source_offset    bigint,
    add column if not exists source_index     integer,
    add column if not exists source_timestamp timestamptz;

-- the migration stops here, naming the rows, where a trial is there twice (see migrate in store.py)
create unique index if not exists cerebros_model_trials_model_run_id_trial_id_index
    on cerebros_model_trials (model_run_id, trial_id);

-- ids in order of time keep the primary key's index dense (Postgres 18 has uuidv7, older ones do with random ids)
do $$
begin
    if to_regproc('pg_catalog.uuidv7') is not null then
        alter table cerebros_model_trials alter column id set default uuidv7();
    else
        alter table cerebros_model_trials alter column id set default gen_random_uuid();
    end if;
end $$;
