-- name: mlflow_links_of_trial
-- Which MLflow runs the trial $2 of the run $1 has, one a tracking server, the newest first.
select link.state, link.detail, link.experiment_id, link.mlflow_run_id, link.reported, link.synced_revision,
       link.updated_at, server.tracking_uri
from mlflow_links link left join mlflow_servers server on server.server = link.server
where link.run_id = $1 and link.trial_id = $2
order by link.updated_at desc, link.server
limit 20
