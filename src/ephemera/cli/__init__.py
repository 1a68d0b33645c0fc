"""The ``ephemera`` command: typer commands over the driver, tables and a live view for people, JSON for machines."""
