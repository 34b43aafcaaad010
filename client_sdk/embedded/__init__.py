"""The embedded market: every party of Gridlease on one machine, under one supervisor."""
