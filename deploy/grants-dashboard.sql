-- What the dashboard needs: it reads, and changes nothing.
--
-- As the owner of the tables, after each migration (safe to repeat):
--     psql OWNER_URL -v role=dashboard -f deploy/grants-dashboard.sql
\set ON_ERROR_STOP on
begin;

grant connect on database :"DBNAME" to :"role";
grant usage on schema public to :"role";
grant select on processor_migrations, cerebros_model_runs, cerebros_model_trials, cerebros_run_counts,
    cerebros_time_counts, cerebros_run_reports,
    cerebros_trial_progress, cerebros_trial_metrics, dead_letter_records, dead_letters,
    outbox, outbox_parked, mlflow_links, mlflow_servers to :"role";

commit;
