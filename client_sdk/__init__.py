"""What renters install: the protocol, the client, the training helpers and the command line."""
