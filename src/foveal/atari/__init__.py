"""Free-Lunch Saliency: attention inside Atari PPO agents, and how it compares with human gaze."""
