"""What ephemera keeps per user, outside every checkout: paths, keys, addresses, leases. Standard library only."""
