"""Models of projects that are no packages, restated: their modules, names of parameters and arithmetic.

What they draw is genkern's noise, so that a patched model and another can be given the same.
"""
