"""The command line: every command is one call of the library. Nothing heavy is imported before a command runs."""
