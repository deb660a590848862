"""The command line: one module per command, and the tables and messages that commands print."""
