"""PostgreSQL: every statement about tasks, steps and workers.

Lock order, so that no two transactions can wait for each other: rows of products (by sku), then the task's row, then
those of its steps. Only claims and heartbeats lock steps without their task, and they skip what is locked.
"""
