"""Attacks on the sandbox, run as a job inside it by `worker_agent.sandbox.doctor`."""
