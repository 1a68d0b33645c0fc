"""The orchestrator: classify the question, look up documents, call the model, answer."""
