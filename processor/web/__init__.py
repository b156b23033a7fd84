"""What every HTTP server of the processor is: bounded connections, tokens, the manners around a request."""
