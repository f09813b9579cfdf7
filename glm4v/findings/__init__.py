"""The three findings of the GLM-4.1V-Thinking report, on the gym: `glm4v findings`.

A plan of runs, a runner that goes through it part by part, a summary of what came out, and pages that show it.
"""

from glm4v.findings.runner import run

__all__ = ["run"]
