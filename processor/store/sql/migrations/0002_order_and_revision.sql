-- What makes writes idempotent and ordered: one row a trial, its revision, and where the report it holds came from.
-- A row from before this processor has revision 0 and no position: any report may replace it.

alter table cerebros_model_trials
    add column if not exists schema_version   integer,
    add column if not exists revision         bigint not null default 0,
    add column if not exists source_topic     text,
    add column if not exists source_partition integer,
    add column if not exists source_offset    bigint,
    add column if not exists source_index     integer,
    add column if not exists source_timestamp timestamptz,
    add column if not exists source_digest    uuid;

-- An index that is there is told by what it does, not by its name: one of that name may be there and not be unique.
-- `processor migrate` has looked before whether rows break these keys, and named them.
do $$
declare
    wanted record;
begin
    for wanted in values
        ('cerebros_model_runs_one_row_a_run', 'cerebros_model_runs', array['run_id']),
        ('cerebros_model_trials_one_row_a_trial', 'cerebros_model_trials', array['model_run_id', 'trial_id'])
    loop
        if not exists (
            select from pg_index held
            where held.indrelid = wanted.column2::regclass
              and held.indisunique and held.indisvalid and held.indimmediate
              and held.indpred is null and held.indexprs is null
              and (select array_agg(attname::text order by attname) from pg_attribute
                   where attrelid = held.indrelid and attnum = any(held.indkey)) = wanted.column3
        ) then
            execute format('create unique index %I on %I (%s)',
                           wanted.column1, wanted.column2, array_to_string(wanted.column3, ', '));
        end if;
    end loop;
end $$;

-- A table that other programs made may leave defaults to them; ours are set where a column has none.
-- Ids in order of time keep the primary key's index dense (Postgres 18 has uuidv7, older ones do with random ids).
do $$
declare
    wanted record;
    new_id text := case when to_regprocedure('pg_catalog.uuidv7()') is null then 'gen_random_uuid()' else 'uuidv7()' end;
begin
    for wanted in
        select missing.column1 as table_name, missing.column2 as column_name, missing.column3 as expression
        from (values
            ('cerebros_model_trials', 'id', new_id),
            ('cerebros_model_trials', 'inserted_at', 'now()'),
            ('cerebros_model_trials', 'updated_at', 'now()'),
            ('cerebros_model_runs', 'search_space_version', '1'),
            ('cerebros_model_runs', 'max_params', '2000000'),
            ('cerebros_model_runs', 'requested_trials', '3'),
            ('cerebros_model_runs', 'completed_trials', '0'),
            ('cerebros_model_runs', 'metadata', quote_literal('{}')),
            ('cerebros_model_runs', 'bridge_payload', quote_literal('{}')),
            ('cerebros_model_runs', 'bridge_result', quote_literal('{}'))
        ) as missing
        join pg_attribute held on held.attrelid = missing.column1::regclass and held.attname = missing.column2
        where not held.atthasdef and held.attidentity = ''
    loop
        execute format('alter table %I alter column %I set default %s',
                       wanted.table_name, wanted.column_name, wanted.expression);
    end loop;
end $$;

-- an array of varchar, as Ecto makes it, cannot be compared with an array of text
do $$
begin
    if (select atttypid <> 'text[]'::regtype from pg_attribute
        where attrelid = 'cerebros_model_trials'::regclass and attname = 'warnings') then
        alter table cerebros_model_trials alter column warnings type text[];
    end if;
end $$;

-- source_digest tells a report that the row already holds without its content: it is of what the content was made
-- from, and of the rules it was made by. Whoever else changes content, by hand or by a program, does not know of it: then
-- it goes, and the next report is compared column by column.
-- (No column is named outside of the function: that would forbid other programs to change its type.)
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
create or replace trigger cerebros_model_trials_forget_digest
    before update on cerebros_model_trials for each row execute function cerebros_model_trials_forget_digest();
