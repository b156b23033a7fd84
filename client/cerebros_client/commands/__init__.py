"""`cerebros-client`: one module a command, each with a function that adds it to the parser."""
