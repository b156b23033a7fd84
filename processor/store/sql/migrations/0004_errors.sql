-- Why a trial failed: what its report says of it (trial_report/v3). Nullable and without a default, so that no row is
-- written again and the lock on the table is a short one.
-- step: why a trial failed
alter table cerebros_model_trials
    add column if not exists error_message text,
    add column if not exists error_type    text,
    add column if not exists stacktrace    text;

-- step: the function that forgets digests
-- as 0002 made it, with the new columns
create or replace function cerebros_model_trials_forget_digest() returns trigger language plpgsql as $$
begin
    if new.source_digest is not distinct from old.source_digest
       and (new.status, new.metrics, new.parameters, new.spectral_norm, new.mlflow_run_id, new.artifact_uri,
            new.duration_ms, new.rank, new.warnings, new.candidate_id, new.pulse_id, new.error_message,
            new.error_type, new.stacktrace, new.bridge_payload)
           is distinct from
           (old.status, old.metrics, old.parameters, old.spectral_norm, old.mlflow_run_id, old.artifact_uri,
            old.duration_ms, old.rank, old.warnings, old.candidate_id, old.pulse_id, old.error_message,
            old.error_type, old.stacktrace, old.bridge_payload)
    then
        new.source_digest := null;
    end if;
    return new;
end $$;
