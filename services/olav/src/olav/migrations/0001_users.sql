CREATE TABLE users (
    username text PRIMARY KEY CHECK (username ~ '^[a-z][a-z0-9._-]{1,31}$'),
    password_hash text NOT NULL,
    role text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    disabled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
