"""The worker service: claims steps, runs their handlers, and answers about all workers."""
