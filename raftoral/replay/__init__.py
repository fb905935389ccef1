"""Effects, histories, and the interpreter that brings them together."""
