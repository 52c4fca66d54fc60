"""Behaviour-cloned skills, and the master policy that combines them."""
