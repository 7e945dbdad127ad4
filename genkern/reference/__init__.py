"""The definitions in plain torch, each with a `..._result` that checks its arguments and says what comes out."""
