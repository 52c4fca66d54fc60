"""Encoders, heads and decoders, which know no algorithm."""
