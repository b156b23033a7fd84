-- How many trials there are, by run and by half hour, kept by triggers, so that they count what other programs write
-- as well. A page that counted rows would look at millions of them.
--
-- A statement only adds to `cerebros_count_changes`, and looks at nothing: it costs the same however many came before
-- it, nobody waits for anybody, and no transaction can fail for it. Now and then ingest adds these rows to the counts;
-- who reads adds up both.

-- step: the tables of counts
create table if not exists cerebros_count_changes (
    model_run_id  uuid,
    at            timestamptz,
    status        text not null,
    spectral_norm boolean not null,
    defaulted     boolean not null,
    trials        bigint not null,
    duration_ms   numeric not null
);
create table if not exists cerebros_run_counts (
    model_run_id  uuid,
    status        text,
    spectral_norm boolean,
    trials        bigint not null,
    duration_ms   numeric not null,
    primary key (model_run_id, status, spectral_norm)
) with (fillfactor = 50);
create table if not exists cerebros_time_counts (
    at            timestamptz,
    spectral_norm boolean,
    defaulted     boolean,
    trials        bigint not null,
    primary key (at, spectral_norm, defaulted)
) with (fillfactor = 50);

-- They run with their owner's rights, since other programs know nothing of the counts, and with a search path of their
-- own. Columns of the trials are named in functions alone: a view would forbid other programs to change their types.
-- What they may leave null has a value here, and a time without a zone is one of UTC.
-- step: the functions that count
do $do$
declare
    -- rows are grouped by what they hold, and only groups are given the names of what is counted
    grouped constant text := $$
        select model_run_id,
               case when inserted_at between '0001-01-02' and '9999-12-30'
                    then date_bin(interval '30 minutes', inserted_at::timestamptz, timestamptz 'epoch') end as at,
               status::text as status, spectral_norm, schema_version is null or schema_version < 2 as defaulted,
               %s count(*) as trials, %s sum(duration_ms) as duration_ms
        from %s group by 1, 2, 3, 4, 5 $$;
    named constant text := $$
        select model_run_id, at,
               case when status in ('succeeded', 'failed', 'skipped', 'cancelled') then status else '' end as status,
               coalesce(spectral_norm, false) as spectral_norm, defaulted,
               sum(trials)::bigint as trials, sum(coalesce(duration_ms, 0)) as duration_ms
        from (%s) as grouped
        group by 1, 2, 3, 4, 5
        having sum(trials) <> 0 or sum(coalesce(duration_ms, 0)) <> 0 $$;
    within constant text :=
        format('language plpgsql set timezone = ''UTC'' set search_path = %I, pg_temp', current_schema());
    trigger_of constant text :=
        'create or replace function %s() returns trigger security definer ' || within || ' as %L';
    added constant text := format(grouped, '', '', 'added');
    removed constant text := format(grouped, '-', '-', 'removed');
    counting constant text := 'begin insert into cerebros_count_changes '
        '(model_run_id, at, status, spectral_norm, defaulted, trials, duration_ms) %s; return null; end';
begin
    execute format(trigger_of, 'cerebros_count_added', format(counting, format(named, added)));
    execute format(trigger_of, 'cerebros_count_removed', format(counting, format(named, removed)));
    execute format(trigger_of, 'cerebros_count_changed',
                   format(counting, format(named, added || ' union all ' || removed)));
    execute format(trigger_of, 'cerebros_count_emptied', $$
begin
    delete from cerebros_count_changes;
    delete from cerebros_run_counts;
    delete from cerebros_time_counts;
    return null;
end $$);

    -- Adds the changes to the counts, unless somebody else is at it.
    execute 'create or replace function cerebros_fold_counts() returns void security definer ' || within || ' as ' ||
            quote_literal($$
begin
    if not pg_try_advisory_xact_lock('cerebros_run_counts'::regclass::integer, 0) then
        return;
    end if;
    with gone as (
        delete from cerebros_count_changes returning *
    ), of_runs as (
        insert into cerebros_run_counts as held
        select model_run_id, status, spectral_norm, sum(trials)::bigint, sum(duration_ms)
        from gone where model_run_id is not null group by 1, 2, 3 order by 1, 2, 3
        on conflict (model_run_id, status, spectral_norm) do update
            set trials = held.trials + excluded.trials, duration_ms = held.duration_ms + excluded.duration_ms
    )
    insert into cerebros_time_counts as held
    select at, spectral_norm, defaulted, sum(trials)::bigint
    from gone where at is not null group by 1, 2, 3 order by 1, 2, 3
    on conflict (at, spectral_norm, defaulted) do update set trials = held.trials + excluded.trials;
end $$);

    -- What the counts lack, or have too much of: what the rows come to and what is counted, as of one moment.
    execute 'create or replace function cerebros_run_counts_missed() '
        'returns table (model_run_id uuid, status text, spectral_norm boolean, trials bigint, duration_ms numeric) '
        'stable ' || within || ' as ' || quote_literal($$
#variable_conflict use_column
begin
    return query
    select model_run_id, status, spectral_norm, sum(trials)::bigint, sum(duration_ms)
    from (select model_run_id, status, spectral_norm, trials, duration_ms from ($$
        || format(named, format(grouped, '', '', 'cerebros_model_trials')) || $$) as counted
          union all
          select model_run_id, status, spectral_norm, -trials, -duration_ms from cerebros_count_changes
          union all
          select model_run_id, status, spectral_norm, -trials, -duration_ms from cerebros_run_counts) as all_sides
    where model_run_id is not null
    group by 1, 2, 3 having sum(trials) <> 0 or sum(duration_ms) <> 0;
end $$);
    execute 'create or replace function cerebros_time_counts_missed() '
        'returns table (at timestamptz, spectral_norm boolean, defaulted boolean, trials bigint) '
        'stable ' || within || ' as ' || quote_literal($$
#variable_conflict use_column
begin
    return query
    select at, spectral_norm, defaulted, sum(trials)::bigint
    from (select at, spectral_norm, defaulted, trials from ($$
        || format(named, format(grouped, '', '', 'cerebros_model_trials')) || $$) as counted
          union all
          select at, spectral_norm, defaulted, -trials from cerebros_count_changes
          union all
          select at, spectral_norm, defaulted, -trials from cerebros_time_counts) as all_sides
    where at is not null
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
insert into cerebros_count_changes (model_run_id, at, status, spectral_norm, defaulted, trials, duration_ms)
select model_run_id, null, status, spectral_norm, false, trials, duration_ms from cerebros_run_counts_missed();
insert into cerebros_count_changes (model_run_id, at, status, spectral_norm, defaulted, trials, duration_ms)
select null, at, '', spectral_norm, defaulted, trials, 0 from cerebros_time_counts_missed();
select cerebros_fold_counts();
