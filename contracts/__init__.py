"""The contracts of Gridlease: generated ABI, typed bindings, deployments and the deploy command."""
