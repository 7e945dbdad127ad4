"""Generative adversarial networks on the command line."""
