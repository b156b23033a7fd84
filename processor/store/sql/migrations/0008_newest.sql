-- What the dashboard shows first: the newest trials, of a run and of all, and the share of spectral_norm over time.
-- Both indexes grow at an end of theirs (ids are in order of time). What they hold changes only where a trial's
-- content does, so that a row whose position alone moves stays in its place.

-- index: cerebros_model_trials_newest_of_run
create index concurrently cerebros_model_trials_newest_of_run
    on cerebros_model_trials (model_run_id, inserted_at, id);

-- index: cerebros_model_trials_newest
create index concurrently cerebros_model_trials_newest
    on cerebros_model_trials (inserted_at, id) include (spectral_norm, schema_version);
