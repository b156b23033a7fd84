-- name: version
-- Which transactions have ended: another text after each commit that wrote anything, whoever made it.
select pg_current_snapshot()::text as version
