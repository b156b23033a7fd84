-- What makes writes idempotent and ordered: one row a trial, its revision, and where the report it holds came from.
-- A row from before this processor has revision 0 and no position: any report may replace it.

-- step: order and revision of the trials
alter table cerebros_model_trials
    add column if not exists schema_version   integer,
    add column if not exists revision         bigint not null default 0,
    add column if not exists source_topic     text,
    add column if not exists source_partition integer,
    add column if not exists source_offset    bigint,
    add column if not exists source_index     integer,
    add column if not exists source_timestamp timestamptz,
    add column if not exists source_digest    uuid;

-- A key that is there is told by what it does, not by its name (see `unique_key_held`).
-- `processor migrate` has looked before whether rows break these keys, and named them.
-- key: cerebros_model_runs_one_row_a_run on cerebros_model_runs (run_id)
create unique index concurrently cerebros_model_runs_one_row_a_run on cerebros_model_runs (run_id);

-- key: cerebros_model_trials_one_row_a_trial on cerebros_model_trials (model_run_id, trial_id)
create unique index concurrently cerebros_model_trials_one_row_a_trial
    on cerebros_model_trials (model_run_id, trial_id);

-- A table that other programs made may leave defaults to them; ours are set where a column has none.
-- Ids in order of time keep the primary key's index dense (Postgres 18 has uuidv7, older ones do with random ids).
-- step: defaults of the trials
do $$
declare
    wanted record;
    new_id text := case when to_regprocedure('pg_catalog.uuidv7()') is null then 'gen_random_uuid()' else 'uuidv7()' end;
begin
    for wanted in
        select missing.column1 as name, missing.column2 as expression
        from (values ('id', new_id), ('inserted_at', 'now()'), ('updated_at', 'now()')) as missing
        join pg_attribute held on held.attrelid = 'cerebros_model_trials'::regclass and held.attname = missing.column1
        where not held.atthasdef and held.attidentity = ''
    loop
        execute format('alter table cerebros_model_trials alter column %I set default %s',
                       wanted.name, wanted.expression);
    end loop;
end $$;

-- step: defaults of the runs
do $$
declare
    wanted record;
begin
    for wanted in
        select missing.column1 as name, missing.column2 as expression
        from (values
            ('search_space_version', '1'), ('max_params', '2000000'), ('requested_trials', '3'),
            ('completed_trials', '0'), ('metadata', quote_literal('{}')), ('bridge_payload', quote_literal('{}')),
            ('bridge_result', quote_literal('{}'))
        ) as missing
        join pg_attribute held on held.attrelid = 'cerebros_model_runs'::regclass and held.attname = missing.column1
        where not held.atthasdef and held.attidentity = ''
    loop
        execute format('alter table cerebros_model_runs alter column %I set default %s',
                       wanted.name, wanted.expression);
    end loop;
end $$;

-- An array of varchar(n), as Ecto makes it, would refuse longer warnings. Without the length it takes any; the type stays
-- what it is, because another one would write every row again under the strongest lock (queries compare it as text[]).
-- step: warnings of any length
do $$
begin
    if exists (select from pg_attribute where attrelid = 'cerebros_model_trials'::regclass
               and attname = 'warnings' and atttypid = 'varchar[]'::regtype and atttypmod <> -1) then
        alter table cerebros_model_trials alter column warnings type varchar[];
    end if;
end $$;

-- source_digest tells a report that the row already holds without its content: it is of what the content was made
-- from, and of the rules it was made by. Whoever else changes content, by hand or by a program, does not know of it: then
-- it goes, and the next report is compared column by column.
-- (No column is named outside of the function: that would forbid other programs to change its type.)
-- step: the function that forgets digests
create or replace function cerebros_model_trials_forget_digest() returns trigger language plpgsql as $$
begin
    if new.source_digest is not distinct from old.source_digest
       and (new.status, new.metrics, new.parameters, new.spectral_norm, new.mlflow_run_id, new.artifact_uri,
            new.duration_ms, new.rank, new.warnings, new.candidate_id, new.pulse_id, new.bridge_payload)
           is distinct from
           (old.status, old.metrics, old.parameters, old.spectral_norm, old.mlflow_run_id, old.artifact_uri,
            old.duration_ms, old.rank, old.warnings, old.candidate_id, old.pulse_id, old.bridge_payload)
    then
        new.source_digest := null;
    end if;
    return new;
end $$;

-- step: the trigger that forgets digests
do $$
begin
    if not exists (select from pg_trigger where tgrelid = 'cerebros_model_trials'::regclass
                   and tgname = 'cerebros_model_trials_forget_digest') then
        create trigger cerebros_model_trials_forget_digest
            before update on cerebros_model_trials
            for each row execute function cerebros_model_trials_forget_digest();
    end if;
end $$;
