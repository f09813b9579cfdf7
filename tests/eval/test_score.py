"""Scores of responses to a gym problem."""

from glm4v.data import Processor, Sample
from glm4v.data.files import Problems
from glm4v.eval import opens_thinking, score


def test_the_format_is_a_gate(problems: Problems) -> None:
    problem = problems[0]
    boxed = f"<|begin_of_box|>{problem.truth}<|end_of_box|>"
    assert score(problem, f"<think>a</think>{boxed}<|user|>") == (1.0, problem.truth, "read exactly")
    assert score(problem, f"<think>a {boxed}") == (0.0, None, "no answer: the thinking is not closed")


def test_another_verifier_may_be_named(problems: Problems) -> None:
    problem = problems[0]
    response = f"<think>a</think><|begin_of_box|>{problem.truth}.0<|end_of_box|>"
    assert score(problem, response).reward < 1.0
    assert score(problem, response, verifier="math").reward == 1.0


def test_opens_thinking_looks_at_the_end_of_the_prompt(processor: Processor, problems: Problems) -> None:
    prompt = processor(problems[0].messages, root=problems[0].root)
    assert not opens_thinking(processor, prompt)
    think = processor.tokenizer.encode("<think>\n", add_special_tokens=False)
    labels = prompt.labels.new_full((len(think),), -100)
    opened: Sample = prompt.completed(labels.new_tensor(think), labels)
    assert opens_thinking(processor, opened)
