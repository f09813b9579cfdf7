"""What each of several processes runs in test_distributed.py: RLCS by the recipe in a JSON file."""

import json
import sys
from pathlib import Path

import torch

from glm4v.rl import rlcs
from glm4v.rl.recipe import RlcsRecipe

if __name__ == "__main__":
    torch.set_num_threads(1)
    rlcs.run(RlcsRecipe.model_validate(json.loads(Path(sys.argv[1]).read_text())))
