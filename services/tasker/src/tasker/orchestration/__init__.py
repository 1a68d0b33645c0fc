"""The orchestration service: takes tasks in, answers about them, and fails steps that lose every worker."""
