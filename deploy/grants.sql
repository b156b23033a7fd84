-- What ingest, relay, status, replay and dead-letters need at run time, and no more: no right to create, alter, drop
-- or empty a table. Only `processor migrate` needs those; run it as the owner of the tables.
--
-- As that owner, after each migration (safe to repeat):
--     psql OWNER_URL -v role=processor -f deploy/grants.sql
--
-- A database that began before Postgres 15 may still let everybody create tables. If so:
--     revoke create on schema public from public;
\set ON_ERROR_STOP on
begin;

grant connect on database :"DBNAME" to :"role";
grant usage on schema public to :"role";

-- is the database up to date?
grant select on processor_migrations to :"role";

-- runs are created when a report names an unknown one, locked while their trials are written, and changed by their
-- own starts and stops
grant select, insert, update (
    state, started_at, finished_at, search_space_version, max_params, requested_trials, completed_trials, best_metric,
    error_message, metadata, bridge_result, updated_at
) on cerebros_model_runs to :"role";
grant select, insert, update on cerebros_model_trials to :"role";

-- how many trials there are: triggers count with their owner's rights, status and verify read
grant select on cerebros_run_counts, cerebros_time_counts to :"role";

-- the newest start and stop of a run (a stop goes when the run starts again), and what trials say before they end
grant select, insert, update, delete on cerebros_run_reports to :"role";
grant select, insert, update on cerebros_trial_progress, cerebros_trial_metrics to :"role";

-- rejections are kept for good; only what became of them changes
grant select, insert on dead_letter_records to :"role";
grant select, insert, update on dead_letters to :"role";

-- messages come, are published and go
grant select, insert, update, delete on outbox to :"role";
grant select, insert, update (wanted_at), delete on outbox_parked to :"role";

-- who publishes them
grant select, insert, update on relay_identity to :"role";

-- which MLflow run belongs to which trial (`processor mlflow`)
grant select, insert, update on mlflow_links, mlflow_servers to :"role";

commit;
