-- Whether a report said spectral_norm at all. The version of its schema does not tell: a JSON report counts as the
-- oldest version with all its fields, so that one with an error message has version 3 whatever it says of
-- spectral_norm, and what could not be read ("maybe") is a default too. Null in rows that were written before: of
-- those the version is asked, until a replay brings their reports again. Nullable and without a default, so that no
-- row is written again and the lock on the table is a short one.
-- step: whether spectral_norm was reported
alter table cerebros_model_trials add column if not exists spectral_norm_reported boolean;

-- As 0010 and 0009 made them, but for what is defaulted. Rows that lack the new value count as before, so that nothing
-- has to be counted anew.
-- step: the functions that count
do $do$
declare
    -- of rows `n` times each; numeric, since no sum and no product of those is too large
    named constant text := $$
        select model_run_id,
               case when inserted_at between '0001-01-02' and '9999-12-30'
                    then date_bin(interval '30 minutes', inserted_at::timestamptz, timestamptz 'epoch') end as at,
               case when status::text in ('succeeded', 'failed', 'skipped', 'cancelled') then status::text
                    else '' end as status,
               coalesce(spectral_norm, false) as spectral_norm,
               coalesce(not spectral_norm_reported, schema_version is null or schema_version < 2) as defaulted,
               %s as trials, coalesce(%s, 0) as duration_ms
        from %s as rows group by 1, 2, 3, 4, 5 $$;
    held constant text := $$ select %s::numeric as n, model_run_id, inserted_at, status, spectral_norm, schema_version,
                                    spectral_norm_reported, duration_ms from %s $$;
    counting constant text := 'begin insert into cerebros_count_changes '
        '(model_run_id, at, status, spectral_norm, defaulted, trials, duration_ms) %s; return null; end';
    within constant text :=
        format('language plpgsql set timezone = ''UTC'' set search_path = %I, pg_temp', current_schema());
    trigger_of constant text := 'create or replace function %s() returns trigger security definer ' || within || ' as %L';
    rows_counted constant text := format(named, 'count(*)', 'sum(duration_ms)', 'cerebros_model_trials');
begin
    execute format(trigger_of, 'cerebros_count_added',
                   format(counting, format(named, 'count(*)', 'sum(duration_ms)', 'added')));
    execute format(trigger_of, 'cerebros_count_removed',
                   format(counting, format(named, '-count(*)', '-sum(duration_ms)', 'removed')));
    execute format(trigger_of, 'cerebros_count_changed', format(counting,
        format(named, 'sum(n)', 'sum(n * duration_ms)',
               '(' || format(held, '1', 'added') || 'union all' || format(held, '-1', 'removed') || ')')
        || 'having sum(n) <> 0 or sum(n * duration_ms) <> 0'));

    execute 'create or replace function cerebros_run_counts_missed() '
        'returns table (model_run_id uuid, status text, spectral_norm boolean, trials bigint, duration_ms numeric) '
        'stable ' || within || ' as ' || quote_literal($$
#variable_conflict use_column
begin
    return query
    select model_run_id, status, spectral_norm, sum(trials)::bigint, sum(duration_ms)
    from (select model_run_id, status, spectral_norm, trials, duration_ms from ($$ || rows_counted || $$) as counted
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
    from (select at, spectral_norm, defaulted, trials from ($$ || rows_counted || $$) as counted
          union all
          select at, spectral_norm, defaulted, -trials from cerebros_count_changes
          union all
          select at, spectral_norm, defaulted, -trials from cerebros_time_counts) as all_sides
    where at is not null
    group by 1, 2, 3 having sum(trials) <> 0;
end $$);
end $do$;

-- The index of the newest trials with the new value beside it; in this order its entries are no longer than before.
-- index: cerebros_model_trials_newest_told
create index concurrently cerebros_model_trials_newest_told
    on cerebros_model_trials (inserted_at, id) include (schema_version, spectral_norm, spectral_norm_reported);

-- step: the new index takes the place of the old one
drop index if exists cerebros_model_trials_newest;
alter index if exists cerebros_model_trials_newest_told rename to cerebros_model_trials_newest;
