"""Physics: measured values in any unit, to the truth's digits; laws up to rearrangement; directions and names."""

from glm4v.rewards import choice, formulas, open_answer, places, relative, symbols, values
from glm4v.rewards.directed import read as directed
from glm4v.rewards.quantity import Rules
from glm4v.rewards.yes_no import read as polarity

check = open_answer.verifier(
    (
        choice.read,
        polarity,
        values.units,
        directed,
        places.read,
        relative.read,
        symbols.read,
        values.multiples,
        values.reader(Rules(measured=True)),
        formulas.read,
    ),
    lists=(open_answer.words("words", "substances", "things", "culture"),),
)
