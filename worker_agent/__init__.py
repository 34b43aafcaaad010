"""The daemon on a provider's, auditor's or arbiter's machine."""
