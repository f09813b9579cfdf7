"""The table of a summary."""

from io import StringIO

from rich.console import Console

from glm4v.eval import summarise, table


def test_rows_are_domains_and_columns_tiers() -> None:
    records = [{"domain": "digits", "tier": tier, "reward": reward} for tier, reward in (("1", 1.0), ("2", 0.25))]
    records.append({"domain": "sums", "tier": "2", "reward": 0.5})
    text = StringIO()
    Console(file=text, width=120).print(table(summarise(records)))
    lines = {line.split("│")[1].strip(): line for line in text.getvalue().splitlines() if line.count("│") > 3}
    assert [cell.strip() for cell in lines["digits"].split("│")[2:5]] == ["1.000", "0.250", "0.625"]
    assert [cell.strip() for cell in lines["sums"].split("│")[2:5]] == ["", "0.500", "0.500"]
    assert "0.583" in lines["all"]
