-- What migrations have made and somebody may drop, as the last of them leaves it, and how it is made again
-- (`processor migrate --mend`). A migration that makes, changes or drops one of these changes this file with it: a
-- test holds them equal. Keys come before the constraints that need them.
--
-- key: a unique index, whatever it is called, on tables that other programs may have made. primary, unique: a
-- constraint whose index is built first. constraint: is added without a look at the rows, and looks at them behind it.

-- key: cerebros_model_runs_one_row_a_run on cerebros_model_runs (run_id)
create unique index concurrently cerebros_model_runs_one_row_a_run on cerebros_model_runs (run_id);

-- key: cerebros_model_trials_one_row_a_trial on cerebros_model_trials (model_run_id, trial_id)
create unique index concurrently cerebros_model_trials_one_row_a_trial on cerebros_model_trials (model_run_id, trial_id);

-- primary: outbox_pkey on outbox
create unique index concurrently outbox_pkey on outbox (seq);

-- primary: outbox_parked_pkey on outbox_parked
create unique index concurrently outbox_parked_pkey on outbox_parked (id);

-- primary: dead_letter_records_pkey on dead_letter_records
create unique index concurrently dead_letter_records_pkey on dead_letter_records (id);

-- primary: dead_letters_pkey on dead_letters
create unique index concurrently dead_letters_pkey on dead_letters (id);

-- primary: relay_identity_pkey on relay_identity
create unique index concurrently relay_identity_pkey on relay_identity (only_one);

-- primary: cerebros_run_reports_pkey on cerebros_run_reports
create unique index concurrently cerebros_run_reports_pkey on cerebros_run_reports (model_run_id, kind);

-- primary: cerebros_trial_progress_pkey on cerebros_trial_progress
create unique index concurrently cerebros_trial_progress_pkey on cerebros_trial_progress (model_run_id, trial_id);

-- primary: cerebros_run_counts_pkey on cerebros_run_counts
create unique index concurrently cerebros_run_counts_pkey on cerebros_run_counts (model_run_id, status, spectral_norm);

-- primary: cerebros_time_counts_pkey on cerebros_time_counts
create unique index concurrently cerebros_time_counts_pkey on cerebros_time_counts (at, spectral_norm, defaulted);

-- primary: mlflow_links_pkey on mlflow_links
create unique index concurrently mlflow_links_pkey on mlflow_links (server, id);

-- primary: mlflow_servers_pkey on mlflow_servers
create unique index concurrently mlflow_servers_pkey on mlflow_servers (server);

-- primary: processor_migrations_pkey on processor_migrations
create unique index concurrently processor_migrations_pkey on processor_migrations (name);

-- unique: outbox_id_key on outbox
create unique index concurrently outbox_id_key on outbox (id);

-- unique: dead_letters_record_id_report_index_key on dead_letters
create unique index concurrently dead_letters_record_id_report_index_key on dead_letters (record_id, report_index);

-- index: dead_letter_records_one_a_record on dead_letter_records
create unique index concurrently dead_letter_records_one_a_record on dead_letter_records
    (topic, "partition", "offset", record_timestamp,
     sha256(int4send(coalesce(length(key), -1)) || int4send(coalesce(length(value), -1))
            || coalesce(key, '') || coalesce(value, '')));

-- index: cerebros_trial_metrics_steps on cerebros_trial_metrics
create unique index concurrently cerebros_trial_metrics_steps on cerebros_trial_metrics (model_run_id, trial_id, metric, coalesce(step, -1::bigint));

-- index: cerebros_model_trials_status_index on cerebros_model_trials
create index concurrently cerebros_model_trials_status_index on cerebros_model_trials (status);

-- index: cerebros_model_trials_spectral_norm_index on cerebros_model_trials
create index concurrently cerebros_model_trials_spectral_norm_index on cerebros_model_trials (spectral_norm);

-- index: cerebros_model_trials_mlflow_run_id_index on cerebros_model_trials
create index concurrently cerebros_model_trials_mlflow_run_id_index on cerebros_model_trials (mlflow_run_id);

-- index: cerebros_model_trials_newest_of_run on cerebros_model_trials
create index concurrently cerebros_model_trials_newest_of_run on cerebros_model_trials (model_run_id, inserted_at, id);

-- index: cerebros_model_trials_newest on cerebros_model_trials
create index concurrently cerebros_model_trials_newest on cerebros_model_trials (inserted_at, id)
    include (schema_version, spectral_norm, spectral_norm_reported);

-- index: dead_letters_unresolved on dead_letters
create index concurrently dead_letters_unresolved on dead_letters (reason, id) where resolved_at is null;

-- index: dead_letters_of_reason on dead_letters
create index concurrently dead_letters_of_reason on dead_letters (reason, id);

-- index: outbox_parked_trial on outbox_parked
create index concurrently outbox_parked_trial on outbox_parked using hash (trial);

-- index: outbox_parked_wanted on outbox_parked
create index concurrently outbox_parked_wanted on outbox_parked (revision, id) where wanted_at is not null;

-- index: mlflow_links_run on mlflow_links
create index concurrently mlflow_links_run on mlflow_links using hash (run_id);

-- index: mlflow_links_trial on mlflow_links
create index concurrently mlflow_links_trial on mlflow_links using hash (trial_id);

-- index: mlflow_links_uncertain on mlflow_links
create index concurrently mlflow_links_uncertain on mlflow_links (uncertain_since) where uncertain_since is not null;

-- index: mlflow_links_failing on mlflow_links
create index concurrently mlflow_links_failing on mlflow_links (updated_at) where state = 'failing';

-- index: mlflow_links_not_linked on mlflow_links
create index concurrently mlflow_links_not_linked on mlflow_links (server, state) where state <> 'linked';

-- constraint: dead_letters_record_id_fkey on dead_letters
alter table dead_letters
    drop constraint if exists dead_letters_record_id_fkey,
    add constraint dead_letters_record_id_fkey foreign key (record_id) references dead_letter_records (id)
        on delete cascade not valid;

-- constraint: cerebros_run_reports_model_run_id_fkey on cerebros_run_reports
alter table cerebros_run_reports
    drop constraint if exists cerebros_run_reports_model_run_id_fkey,
    add constraint cerebros_run_reports_model_run_id_fkey foreign key (model_run_id)
        references cerebros_model_runs (id) on delete cascade not valid;

-- constraint: cerebros_trial_progress_model_run_id_fkey on cerebros_trial_progress
alter table cerebros_trial_progress
    drop constraint if exists cerebros_trial_progress_model_run_id_fkey,
    add constraint cerebros_trial_progress_model_run_id_fkey foreign key (model_run_id)
        references cerebros_model_runs (id) on delete cascade not valid;

-- constraint: cerebros_trial_metrics_model_run_id_fkey on cerebros_trial_metrics
alter table cerebros_trial_metrics
    drop constraint if exists cerebros_trial_metrics_model_run_id_fkey,
    add constraint cerebros_trial_metrics_model_run_id_fkey foreign key (model_run_id)
        references cerebros_model_runs (id) on delete cascade not valid;

-- constraint: cerebros_run_reports_kind_check on cerebros_run_reports
alter table cerebros_run_reports
    drop constraint if exists cerebros_run_reports_kind_check,
    add constraint cerebros_run_reports_kind_check check (kind in ('start', 'stop')) not valid;

-- constraint: relay_identity_only_one_check on relay_identity
alter table relay_identity
    drop constraint if exists relay_identity_only_one_check,
    add constraint relay_identity_only_one_check check (only_one) not valid;

-- trigger: cerebros_model_trials_forget_digest on cerebros_model_trials
create or replace trigger cerebros_model_trials_forget_digest before update on cerebros_model_trials
    for each row execute function cerebros_model_trials_forget_digest();
alter table cerebros_model_trials enable trigger cerebros_model_trials_forget_digest;

-- trigger: cerebros_model_trials_count_added on cerebros_model_trials
create or replace trigger cerebros_model_trials_count_added after insert on cerebros_model_trials
    referencing new table as added for each statement execute function cerebros_count_added();
alter table cerebros_model_trials enable trigger cerebros_model_trials_count_added;

-- trigger: cerebros_model_trials_count_removed on cerebros_model_trials
create or replace trigger cerebros_model_trials_count_removed after delete on cerebros_model_trials
    referencing old table as removed for each statement execute function cerebros_count_removed();
alter table cerebros_model_trials enable trigger cerebros_model_trials_count_removed;

-- trigger: cerebros_model_trials_count_changed on cerebros_model_trials
create or replace trigger cerebros_model_trials_count_changed after update on cerebros_model_trials
    referencing old table as removed new table as added
    for each statement execute function cerebros_count_changed();
alter table cerebros_model_trials enable trigger cerebros_model_trials_count_changed;

-- trigger: cerebros_model_trials_count_emptied on cerebros_model_trials
create or replace trigger cerebros_model_trials_count_emptied after truncate on cerebros_model_trials
    for each statement execute function cerebros_count_emptied();
alter table cerebros_model_trials enable trigger cerebros_model_trials_count_emptied;
