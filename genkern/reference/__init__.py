"""Each operation in plain torch: the definition, the fallback for every device, and the oracle of the tests."""
