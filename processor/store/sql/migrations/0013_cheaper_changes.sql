-- An update that finds no row has nothing to count. Small batches say what is new and what has changed in one statement,
-- and of most of them nothing has: then one look at what changed is all, where two groupings were made of nothing.
-- step: the function that counts changes
do $do$
declare
    -- as 0011 made it: of rows `n` times each; numeric, since no sum and no product of those is too large
    held constant text := $$ select %s::numeric as n, model_run_id, inserted_at, status, spectral_norm, schema_version,
                                    spectral_norm_reported, duration_ms from %s $$;
    changes constant text := format(held, '1', 'added') || 'union all' || format(held, '-1', 'removed');
    counting constant text := $$
begin
    if exists (select from added) then
        insert into cerebros_count_changes
            (model_run_id, at, status, spectral_norm, defaulted, trials, duration_ms)
        select model_run_id,
               case when inserted_at between '0001-01-02' and '9999-12-30'
                    then date_bin(interval '30 minutes', inserted_at::timestamptz, timestamptz 'epoch') end,
               case when status::text in ('succeeded', 'failed', 'skipped', 'cancelled') then status::text
                    else '' end,
               coalesce(spectral_norm, false),
               coalesce(not spectral_norm_reported, schema_version is null or schema_version < 2),
               sum(n), coalesce(sum(n * duration_ms), 0)
        from ($$ || changes || $$) as rows
        group by 1, 2, 3, 4, 5
        having sum(n) <> 0 or sum(n * duration_ms) <> 0;
    end if;
    return null;
end $$;
begin
    execute format('create or replace function cerebros_count_changed() returns trigger security definer '
                   'language plpgsql set timezone = ''UTC'' set search_path = %I, pg_temp as %L',
                   current_schema(), counting);
end $do$;

-- The dead letters of one reason among many that are resolved: the index of the unresolved has none of those.
-- index: dead_letters_of_reason
create index concurrently dead_letters_of_reason on dead_letters (reason, id);
