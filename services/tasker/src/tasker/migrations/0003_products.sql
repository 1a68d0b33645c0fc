INSERT INTO products (sku, name, unit_price_cents, on_hand) VALUES
    ('WIDGET-1', 'Widget', 1999, 1000000),
    ('GADGET-1', 'Gadget', 4950, 1000),
    ('GIZMO-1', 'Gizmo', 12500, 10),
    ('RELIC-1', 'Relic, sold out', 99900, 0);
