"""What the tests share: the backends, the registry of operations with their inputs, and the tolerance rule."""
