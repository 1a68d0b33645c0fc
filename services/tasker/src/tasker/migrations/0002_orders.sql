CREATE TABLE products (
    sku              text PRIMARY KEY,
    name             text NOT NULL,
    unit_price_cents bigint NOT NULL CHECK (unit_price_cents > 0),
    on_hand          bigint NOT NULL CHECK (on_hand >= 0),
    reserved         bigint NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND on_hand)
);

-- One row per task, step and thing done: a repeated step finds its row and does nothing twice.
CREATE TABLE reservations (
    task_uuid uuid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    step      text NOT NULL,
    sku       text NOT NULL REFERENCES products,
    quantity  bigint NOT NULL CHECK (quantity > 0),
    status    text NOT NULL DEFAULT 'held' CHECK (status IN ('held', 'released', 'shipped')),
    PRIMARY KEY (task_uuid, step, sku)
);

-- The books of the payment gateway: no foreign keys to ours, because it would be somebody else's database.
CREATE TABLE payments (
    payment_uuid       uuid PRIMARY KEY DEFAULT uuid_generate_v7(),
    task_uuid          uuid NOT NULL,
    step               text NOT NULL,
    amount_cents       bigint NOT NULL CHECK (amount_cents >= 0),
    status             text NOT NULL CHECK (status IN ('captured', 'declined', 'refunded', 'voided')),
    authorization_code text,
    card_last4         text NOT NULL,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    UNIQUE (task_uuid, step)
);

CREATE TABLE shipments (
    shipment_uuid   uuid PRIMARY KEY DEFAULT uuid_generate_v7(),
    task_uuid       uuid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    step            text NOT NULL,
    order_id        text NOT NULL,
    tracking_number text NOT NULL UNIQUE DEFAULT 'TRK' || upper(encode(gen_random_bytes(8), 'hex')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (task_uuid, step)
);
