-- name: whole_path_indexes
-- The names of the trials' indexes that begin with $1 and can be used.
select held.relname::text as name from pg_index made join pg_class held on held.oid = made.indexrelid
where made.indrelid = to_regclass('cerebros_model_trials') and made.indisvalid and starts_with(held.relname, $1::text)
