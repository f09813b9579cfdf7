"""RLCS, reinforcement learning with curriculum sampling: `rlcs` is the loop, every other file one of its parts."""
