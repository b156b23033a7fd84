-- How many trials there are, by run and by half hour, kept by triggers, so that they count what other programs write
-- as well. A page that counted rows would look at millions of them.
--
-- Nobody ever waits for a count, and so there is no new deadlock: who comes while somebody else holds a row of it adds
-- a row of his own, and who reads adds all of them up. (A transaction that keeps one snapshot could not change a row
-- that changed since; it adds one, too.)

-- step: the tables of counts
create table if not exists cerebros_run_counts (
    slot          bigint generated always as identity primary key,
    model_run_id  uuid not null,
    status        text not null,
    spectral_norm boolean not null,
    trials        bigint not null,
    duration_ms   numeric not null
) with (fillfactor = 50);
create index if not exists cerebros_run_counts_key on cerebros_run_counts (model_run_id, status, spectral_norm);
create table if not exists cerebros_time_counts (
    slot          bigint generated always as identity primary key,
    at            timestamptz not null,
    spectral_norm boolean not null,
    defaulted     boolean not null,
    trials        bigint not null
) with (fillfactor = 50);
create index if not exists cerebros_time_counts_key on cerebros_time_counts (at, spectral_norm, defaulted);

-- Three functions of one text, for what each kind of statement added and removed. They run with their owner's rights,
-- since other programs know nothing of the counts, and with a search path of their own.
-- (Columns of the trials are named in functions alone: a view would forbid other programs to change their types. What
-- they may leave null has a value here, and a time without a zone is one of UTC.)
-- step: the functions that count
do $do$
declare
    counted constant text := $$
        model_run_id,
        case when status::text in ('succeeded', 'failed', 'skipped', 'cancelled') then status::text else '' end as status,
        coalesce(spectral_norm, false) as spectral_norm,
        schema_version is null or schema_version < 2 as defaulted,
        case when inserted_at between '0001-01-02' and '9999-12-30'
             then date_bin(interval '30 minutes', inserted_at::timestamptz, timestamptz 'epoch') end as at,
        coalesce(duration_ms, 0)::numeric as duration_ms $$;
    body constant text := $$
begin
    with changed as materialized (
        select model_run_id, status, spectral_norm, defaulted, at, sum(sign) as trials,
               sum(sign * duration_ms) as duration_ms
        from (%s) as each
        group by 1, 2, 3, 4, 5
    ), of_run as materialized (
        select model_run_id, status, spectral_norm, sum(trials)::bigint as trials, sum(duration_ms) as duration_ms
        from changed where model_run_id is not null
        group by 1, 2, 3 having sum(trials) <> 0 or sum(duration_ms) <> 0
    ), of_time as materialized (
        select at, spectral_norm, defaulted, sum(trials)::bigint as trials
        from changed where at is not null
        group by 1, 2, 3 having sum(trials) <> 0
    ), run_slots as materialized (
        select of_run.*, free.slot
        from of_run cross join lateral (
            select held.slot from cerebros_run_counts held
            where (held.model_run_id, held.status, held.spectral_norm)
                  = (of_run.model_run_id, of_run.status, of_run.spectral_norm)
              and current_setting('transaction_isolation') = 'read committed'
            limit 1 for no key update skip locked) as free
    ), time_slots as materialized (
        select of_time.*, free.slot
        from of_time cross join lateral (
            select held.slot from cerebros_time_counts held
            where (held.at, held.spectral_norm, held.defaulted) = (of_time.at, of_time.spectral_norm, of_time.defaulted)
              and current_setting('transaction_isolation') = 'read committed'
            limit 1 for no key update skip locked) as free
    ), run_moved as (
        update cerebros_run_counts held
        set trials = held.trials + more.trials, duration_ms = held.duration_ms + more.duration_ms
        from run_slots more where held.slot = more.slot
    ), time_moved as (
        update cerebros_time_counts held set trials = held.trials + more.trials
        from time_slots more where held.slot = more.slot
    ), run_added as (
        insert into cerebros_run_counts (model_run_id, status, spectral_norm, trials, duration_ms)
        select model_run_id, status, spectral_norm, of_run.trials, of_run.duration_ms
        from of_run left join run_slots using (model_run_id, status, spectral_norm) where slot is null
    )
    insert into cerebros_time_counts (at, spectral_norm, defaulted, trials)
    select at, spectral_norm, defaulted, of_time.trials
    from of_time left join time_slots using (at, spectral_norm, defaulted) where slot is null;
    return null;
end $$;
    within constant text := format('set timezone = ''UTC'' set search_path = %I, pg_temp', current_schema());
    options constant text := 'returns trigger language plpgsql security definer ' || within;
    added constant text := 'select 1 as sign, ' || counted || ' from added';
    removed constant text := 'select -1 as sign, ' || counted || ' from removed';
begin
    execute format('create or replace function cerebros_count_added() %s as %L', options, format(body, added));
    execute format('create or replace function cerebros_count_removed() %s as %L', options, format(body, removed));
    execute format('create or replace function cerebros_count_changed() %s as %L', options,
                   format(body, added || ' union all ' || removed));
    execute format('create or replace function cerebros_count_emptied() %s as %L', options,
                   'begin delete from cerebros_run_counts; delete from cerebros_time_counts; return null; end');
    -- What the counts lack (or have too much of): what the rows come to and what is counted, of one moment.
    execute format('create or replace function cerebros_run_counts_missed() '
        'returns table (model_run_id uuid, status text, spectral_norm boolean, trials bigint, duration_ms numeric) '
        'language plpgsql stable rows 10 %s as %L', within, $$
#variable_conflict use_column
begin
    return query
    select model_run_id, status, spectral_norm, sum(trials)::bigint, sum(duration_ms)
    from (select model_run_id, status, spectral_norm, 1 as trials, duration_ms
          from (select $$ || counted || $$ from cerebros_model_trials) as each where model_run_id is not null
          union all
          select model_run_id, status, spectral_norm, -trials, -duration_ms from cerebros_run_counts) as both_sides
    group by 1, 2, 3 having sum(trials) <> 0 or sum(duration_ms) <> 0;
end $$);
    execute format('create or replace function cerebros_time_counts_missed() '
        'returns table (at timestamptz, spectral_norm boolean, defaulted boolean, trials bigint) '
        'language plpgsql stable rows 10 %s as %L', within, $$
#variable_conflict use_column
begin
    return query
    select at, spectral_norm, defaulted, sum(trials)::bigint
    from (select at, spectral_norm, defaulted, 1 as trials
          from (select $$ || counted || $$ from cerebros_model_trials) as each where at is not null
          union all
          select at, spectral_norm, defaulted, -trials from cerebros_time_counts) as both_sides
    group by 1, 2, 3 having sum(trials) <> 0;
end $$);
end $do$;

-- step: the triggers that count
-- From here on each statement is counted with what it writes.
create or replace trigger cerebros_model_trials_count_added after insert on cerebros_model_trials
    referencing new table as added for each statement execute function cerebros_count_added();
create or replace trigger cerebros_model_trials_count_removed after delete on cerebros_model_trials
    referencing old table as removed for each statement execute function cerebros_count_removed();
create or replace trigger cerebros_model_trials_count_changed after update on cerebros_model_trials
    referencing old table as removed new table as added
    for each statement execute function cerebros_count_changed();
create or replace trigger cerebros_model_trials_count_emptied after truncate on cerebros_model_trials
    for each statement execute function cerebros_count_emptied();

-- step: what was there before is counted
-- One statement sees rows and counts as of one moment, whoever writes meanwhile: what is not counted yet is what is
-- missing. So this may be done again at any time.
insert into cerebros_run_counts (model_run_id, status, spectral_norm, trials, duration_ms)
select * from cerebros_run_counts_missed();
insert into cerebros_time_counts (at, spectral_norm, defaulted, trials) select * from cerebros_time_counts_missed();
