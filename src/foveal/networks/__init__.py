"""Encoders, heads and decoders. They know no algorithm."""
