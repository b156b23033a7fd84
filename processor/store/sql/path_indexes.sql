-- name: trials_owner
-- Who may make indexes of the trials, and whether this session's role may.
select pg_get_userbyid(held.relowner)::text as owner, current_user::text as me,
       pg_has_role(held.relowner, 'USAGE') and has_schema_privilege(held.relnamespace, 'CREATE') as may
from pg_class held where held.oid = to_regclass('cerebros_model_trials')

-- name: path_quoted
-- The text $1 with the keys $2 in their places, quoted as one text, or as an array where there are several.
select format($1::text, case when cardinality($2::text[]) = 1 then ($2::text[])[1] else $2::text[]::text end)

-- name: array_read
-- The keys in an array's text.
select $1::text::text[] as keys

-- name: path_indexes
-- The indexes of the trials whose names begin with $1: how large, whether whole, how often used.
select held.relname::text as name, made.indisvalid as valid, pg_relation_size(held.oid) as bytes,
       greatest(held.reltuples, 0)::bigint as rows, coalesce(stats.idx_scan, 0)::bigint as used,
       coalesce(pg_get_expr(made.indpred, made.indrelid), '') as condition,
       exists (select from pg_stat_progress_create_index one where one.index_relid = held.oid) as building
from pg_index made
join pg_class held on held.oid = made.indexrelid
left join pg_stat_user_indexes stats on stats.indexrelid = held.oid
where made.indrelid = to_regclass('cerebros_model_trials') and starts_with(held.relname, $1::text)
order by held.relname
