"""What turns an engine into a running node: options, the loop, its outputs, and the report at the end."""
