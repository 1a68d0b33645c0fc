"""What happened to an environment: recordings, evidence, and redaction of its secrets."""
