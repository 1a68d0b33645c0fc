"""What an environment costs with ephemera, and with what a user would take instead: side by side, in one run.

``python -m benchmarks``. Every tool brings up the same containers, in processes of its own, one tool after the other;
what it says is checked from outside. ``docs/benchmarks.md`` has what is measured, and how to read it.
"""
