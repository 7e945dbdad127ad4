"""Each operation in plain torch: the definition, the fallback for every device, and the oracle of the tests.

A `Definition` states the checks of the arguments, what comes out and how it is computed. The fake kernel is made of it,
too.
"""
