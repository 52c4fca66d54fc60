"""Saliency against human gaze: Atari-HEAD, maps of people and of agents, and numbers about them."""
