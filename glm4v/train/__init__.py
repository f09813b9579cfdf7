"""Recipes, the training engine, checkpoints, and the stages pretraining and SFT. Start reading at loop.py."""
