"""Each operation in plain torch: the definition, the fallback for every device, and the oracle of the tests.

A `..._result` beside it checks the arguments and says what comes out; the fake kernel is made of it, too.
"""
