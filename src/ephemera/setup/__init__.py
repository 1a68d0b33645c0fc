"""Makes a machine ready: virtual environment, Docker, engine, plugin, images. Standard library only: it runs first."""
