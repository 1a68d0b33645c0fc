"""Systems: one module each, and the catalog that lists them."""
