"""History, literature, art, music, economics: names, works, years, centuries and decades."""

from glm4v.rewards import choice, clock, open_answer, ranges, values
from glm4v.rewards.geography import located
from glm4v.rewards.quantity import Rules
from glm4v.rewards.yes_no import read as polarity

check = open_answer.verifier(
    (choice.read, polarity, ranges.read, clock.read, located, values.reader(Rules())),
    lists=(open_answer.words("culture", "places", "words", "things"),),
)
