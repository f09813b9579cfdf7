"""Estimates, weights and draws of the online curriculum."""

from collections import Counter

import numpy as np
import pytest
import torch

from glm4v.rl.curriculum import Curriculum

TIERS = ["1", "2", "3", "4", "5"]


def pool(per_cell: int = 200) -> list[tuple[str, str]]:
    return [("sums", tier) for tier in TIERS for _ in range(per_cell)]


def play(curriculum: Curriculum, rates: dict[str, float], steps: int, count: int = 40) -> None:
    """Draws and answers like a model with the given pass rate per tier."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        problems = curriculum.draw(count)
        chances = torch.tensor([rates[curriculum.cell(problem)[1]] for problem in problems])
        curriculum.update(problems, torch.bernoulli(chances[:, None].expand(-1, 8), generator=generator))


def test_weights_move_to_the_middle():
    curriculum = Curriculum(pool())
    assert all(share == pytest.approx(0.2) for share in curriculum.shares().values())
    play(curriculum, dict(zip(TIERS, [1.0, 0.9, 0.5, 0.1, 0.0], strict=True)), steps=40)
    shares = [curriculum.shares()["sums", tier] for tier in TIERS]
    assert shares[2] > shares[1] > shares[0]
    assert shares[2] > shares[3] > shares[4]
    assert shares[2] > 2.5 * shares[0] > 0
    assert sum(shares) == pytest.approx(1)


def test_weights_follow_the_model():
    curriculum = Curriculum(pool())
    play(curriculum, dict(zip(TIERS, [0.9, 0.5, 0.0, 0.0, 0.0], strict=True)), steps=30)
    before = curriculum.shares()
    play(curriculum, dict(zip(TIERS, [1.0, 1.0, 0.9, 0.5, 0.0], strict=True)), steps=60)
    after = curriculum.shares()
    assert before["sums", "2"] > before["sums", "4"]
    assert after["sums", "4"] > after["sums", "2"]


def test_weight_formula():
    curriculum = Curriculum(pool(), floor=0.2)
    assert curriculum.weight(np.array([0.0, 0.5, 1.0, 0.25])).tolist() == pytest.approx([0.2, 1.0, 0.2, 0.8])


def test_new_problems_start_from_their_cell_and_evidence_ages():
    curriculum = Curriculum([("a", "1")] * 10 + [("a", "2")] * 10, prior=8.0, ageing=0.5)
    assert curriculum.pass_rates([0, 10]).tolist() == [0.5, 0.5]
    curriculum.update([0], torch.ones(1, 8))
    assert curriculum.cell_pass_rates().tolist() == [0.9, 0.5]  # (8 + 1) / (8 + 2)
    rates = curriculum.pass_rates([0, 1, 10]).tolist()
    assert rates == pytest.approx([(8 + 8 * 0.9) / 16, 0.9, 0.5])  # its own and its cell's; its cell's; nothing known
    for _ in range(40):
        curriculum.update([], torch.ones(0, 8))
    assert curriculum.pass_rates([0, 1]).tolist() == pytest.approx([0.5, 0.5], abs=1e-6)  # forgotten: drawn again


def test_offline_pass_rates_are_the_first_evidence():
    curriculum = Curriculum([("a", "1")] * 2 + [("a", "2")] * 2, prior=8.0)
    curriculum.start_from([1.0, 0.8, 0.1, 0.1], trials=24)
    assert curriculum.cell_pass_rates().tolist() == pytest.approx([(24 * 0.9 + 1) / 26, (24 * 0.1 + 1) / 26])
    assert curriculum.pass_rates([0, 1]).tolist() == pytest.approx([(24 * 0.9 + 1) / 26] * 2)


def test_mastered_problems_are_drawn_less_inside_a_cell():
    curriculum = Curriculum([("a", "1")] * 100, floor=0.1, ageing=1.0)
    for _ in range(10):
        curriculum.update(range(50), torch.ones(50, 8))
        curriculum.update(range(50, 100), torch.tensor([[1.0, 0.0] * 4] * 50))
    counts = Counter(problem < 50 for _ in range(200) for problem in curriculum.draw(10))
    assert counts[False] > 2.5 * counts[True] > 0


def test_draws_are_balanced_and_distinct():
    curriculum = Curriculum([*pool(per_cell=50), *(("gui", tier) for tier in TIERS for _ in range(50))])
    for _ in range(20):
        problems = curriculum.draw(25)
        assert len(problems) == len(set(problems)) == 25
        counts = Counter(curriculum.cell(problem) for problem in problems)
        assert len(counts) == 10
        assert set(counts.values()) <= {2, 3}


def test_domains_get_the_shares_that_are_set():
    cells = [(domain, tier) for domain in ("sums", "gui", "ocr") for tier in TIERS for _ in range(40)]
    curriculum = Curriculum(cells, domain_shares={"gui": 0.6})
    rates = {"1": 1.0, "2": 0.9, "3": 0.5, "4": 0.1, "5": 0.0}
    play(curriculum, rates, steps=20)
    shares = curriculum.shares()
    assert sum(shares["gui", tier] for tier in TIERS) == pytest.approx(0.6)
    assert sum(shares["sums", tier] + shares["ocr", tier] for tier in TIERS) == pytest.approx(0.4)
    assert shares["gui", "3"] > 2 * shares["gui", "1"] > 0  # weights go on inside the domain
    assert Counter(curriculum.cell(problem)[0] for problem in curriculum.draw(50))["gui"] in (29, 30, 31)
    every = Curriculum(cells, domain_shares={"gui": 0.2, "sums": 0.3, "ocr": 0.5}).shares()
    assert sum(every["sums", tier] for tier in TIERS) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"maps": 0.5}, "domain_shares: maps, expected some of sums, gui"),
        ({"sums": 1.0}, "below 1, so that the other domains are drawn"),
        ({"sums": 0.0}, "expected positive numbers"),
        ({"sums": 0.5, "gui": 0.6}, "add up to 1, as every domain has a share"),
    ],
)
def test_shares_that_cannot_be_are_named(shares, words):
    with pytest.raises(ValueError, match=words):
        Curriculum([("sums", "1"), ("gui", "1")], domain_shares=shares)


def test_too_many_cells_are_named():
    with pytest.raises(ValueError, match="cells: 32769 kinds"):
        Curriculum((str(number), "1") for number in range(2**15 + 1))


def test_a_hopeless_pool_is_drawn_all_the_same():
    """Where every candidate but one in ten is rejected, a draw still ends, and is what it should be."""
    curriculum = Curriculum(pool(), floor=0.1, ageing=1.0)
    for _ in range(30):
        curriculum.update(range(1000), torch.zeros(1000, 8))
    assert max(curriculum.pass_rates(range(1000))) < 0.01
    assert len(set(curriculum.draw(400))) == 400


def test_draws_follow_the_shares():
    curriculum = Curriculum([("a", "1")] * 900 + [("a", "2")] * 100, floor=1.0)
    counts = Counter(curriculum.cell(problem)[1] for _ in range(100) for problem in curriculum.draw(7))
    assert counts["2"] == pytest.approx(70, abs=15)


def test_small_pools_repeat():
    assert sorted(Curriculum([("a", "1")]).draw(3)) == [0, 0, 0]
    assert len(Curriculum([("a", "1")] * 3 + [("a", "2")] * 100).draw(103)) == 103


def test_resume_is_exact():
    rates = dict(zip(TIERS, [1.0, 0.9, 0.5, 0.1, 0.0], strict=True))
    whole, first, second = (Curriculum(pool(), seed=3) for _ in range(3))
    play(whole, rates, steps=9)
    play(first, rates, steps=9)
    second.load_state_dict(first.state_dict())
    for _ in range(5):
        problems = whole.draw(64)
        assert second.draw(64) == problems
        for curriculum in (whole, second):
            curriculum.update(problems, torch.eye(64, 8))
    everything = np.arange(len(whole))
    assert np.array_equal(whole.pass_rates(everything), second.pass_rates(everything))
    assert Curriculum(pool(), seed=4).draw(64) != Curriculum(pool(), seed=3).draw(64)


def test_state_of_other_data_is_refused():
    with pytest.raises(ValueError, match="resume with the data the run was started with"):
        Curriculum(pool(per_cell=3)).load_state_dict(Curriculum(pool(per_cell=4)).state_dict())


def test_bad_rewards_and_settings_are_named():
    curriculum = Curriculum(pool())
    with pytest.raises(ValueError, match=r"rewards: in \[0\.0, 1\.5\]"):
        curriculum.update([0], torch.tensor([[0.0, 1.5]]))
    with pytest.raises(ValueError, match=r"rewards: shape \(1, 8\), expected \[2, responses\]"):
        curriculum.update([0, 1], torch.zeros(1, 8))
    for arguments in ({"floor": 0.0}, {"ageing": 1.5}, {"prior": 0.0}):
        with pytest.raises(ValueError, match=f"^{next(iter(arguments))}: "):
            Curriculum(pool(), **arguments)
    with pytest.raises(ValueError, match="cells: no problems"):
        Curriculum([])
