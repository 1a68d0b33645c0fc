"""What is counted besides requests."""

from prometheus_client import Counter, Histogram

LOGINS = Counter("olav_logins", "Logins by outcome: success, failure, limited.", ("outcome",))
ORCHESTRATOR_RUNS = Counter("olav_orchestrator_runs", "Runs: answered, or the error's code.", ("outcome",))
ORCHESTRATOR_STEP_SECONDS = Histogram("olav_orchestrator_step_seconds", "Time of each step of the graph.", ("step",))
MODEL_RETRIES = Counter("olav_model_retries", "Requests to the model that were repeated, by cause.", ("reason",))
