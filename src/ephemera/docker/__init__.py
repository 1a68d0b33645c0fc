"""Docker: connections, containers of a stack, commands in them, copies, logs, published ports."""
