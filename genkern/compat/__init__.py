"""Drop-ins with other projects' own names, signatures and conventions.

A module each; none is imported with genkern, and none imports the project it stands in for before it is asked to.
"""
