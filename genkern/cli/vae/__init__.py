"""Variational autoencoders on the command line."""
