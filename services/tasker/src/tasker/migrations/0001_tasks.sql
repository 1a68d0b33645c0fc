CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE EXTENSION IF NOT EXISTS tasker_uuid;

CREATE TABLE tasks (
    task_uuid       uuid PRIMARY KEY DEFAULT uuid_generate_v7(),
    namespace       text NOT NULL,
    name            text NOT NULL,
    status          text NOT NULL DEFAULT 'pending'
                    CHECK (status IN ('pending', 'in_progress', 'completed', 'failed', 'cancelled')),
    outcome         text CHECK (outcome IN ('failed', 'cancelled')),
    context         jsonb NOT NULL,
    result          jsonb,
    error           jsonb,
    idempotency_key text UNIQUE,
    request_digest  text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    completed_at    timestamptz
);
CREATE INDEX tasks_by_namespace ON tasks (namespace, task_uuid DESC);
CREATE INDEX tasks_by_status ON tasks (status, task_uuid DESC);

CREATE TABLE steps (
    step_uuid        uuid PRIMARY KEY DEFAULT uuid_generate_v7(),
    task_uuid        uuid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    position         integer NOT NULL,
    namespace        text NOT NULL,
    name             text NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('action', 'compensation')),
    handler          text NOT NULL,
    compensation     text,
    depends_on       text[] NOT NULL,
    status           text NOT NULL
                     CHECK (status IN ('pending', 'ready', 'in_progress', 'completed', 'failed', 'cancelled')),
    attempts         integer NOT NULL DEFAULT 0,
    lost_leases      integer NOT NULL DEFAULT 0,
    max_attempts     integer NOT NULL CHECK (max_attempts > 0),
    max_lost_leases  integer NOT NULL,
    backoff_seconds  double precision NOT NULL,
    worker_id        text,
    lease_holder     uuid,
    lease_expires_at timestamptz,
    run_after        timestamptz,
    started_at       timestamptz,
    completed_at     timestamptz,
    input            jsonb,
    result           jsonb,
    error            jsonb,
    UNIQUE (task_uuid, name),
    UNIQUE (task_uuid, position)
);
-- A claim reads these two and nothing else: their size is what is open, not what was ever done.
CREATE INDEX steps_ready ON steps (run_after) WHERE status = 'ready';
CREATE INDEX steps_leased ON steps (lease_expires_at) WHERE status = 'in_progress';
CREATE INDEX steps_by_worker ON steps (worker_id, step_uuid DESC);

CREATE TABLE step_attempts (
    step_uuid  uuid NOT NULL REFERENCES steps ON DELETE CASCADE,
    attempt    integer NOT NULL,
    worker_id  text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    outcome    text CHECK (outcome IN ('completed', 'failed', 'lost', 'cancelled')),
    error      jsonb,
    -- Two workers can never run the same attempt: the second one could not even write it down.
    PRIMARY KEY (step_uuid, attempt)
);

CREATE TABLE workers (
    worker_id         text PRIMARY KEY,
    incarnation       uuid NOT NULL,
    desired           text NOT NULL DEFAULT 'active' CHECK (desired IN ('active', 'paused', 'draining')),
    namespaces        text[] NOT NULL,
    handlers          text[] NOT NULL,
    concurrency       integer NOT NULL,
    host              text NOT NULL,
    version           text NOT NULL,
    heartbeat_seconds double precision NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT now(),
    heartbeat_at      timestamptz NOT NULL DEFAULT now(),
    stopped_at        timestamptz
);
