"""What is counted besides requests."""

from prometheus_client import Counter, Gauge, Histogram

TASKS_CREATED = Counter("tasker_tasks_created", "Tasks created.", ("namespace", "name"))
BY_STATUS = {
    "tasks": Gauge("tasker_tasks", "Tasks by status.", ("status",)),
    "steps": Gauge("tasker_steps", "Steps by status.", ("status",)),
}
STEPS_FINISHED = Counter("tasker_steps_finished", "Attempts ended.", ("namespace", "step", "outcome"))
STEP_SECONDS = Histogram("tasker_step_seconds", "Time an attempt took.", ("namespace", "step"))
STEP_WAIT_SECONDS = Histogram("tasker_step_wait_seconds", "Time from ready to claimed.")
STEPS_RUNNING = Gauge("tasker_steps_running", "Attempts running now.")
