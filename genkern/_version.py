"""The one place that states genkern's version."""

__version__ = "0.1.0"
