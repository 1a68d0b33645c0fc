"""The worker with every step handler of the catalog."""
