"""The curriculum's benchmark on a small pool."""

import json

from glm4v.benchmarks import bench_curriculum


def test_it_measures_every_sampler(tmp_path):
    out = tmp_path / "curriculum.json"
    bench_curriculum.run(20_000, out, seconds=0.01)
    result = json.loads(out.read_text())
    assert result["problems"] == 20_000
    assert {(row["sampler"], row["batch"]) for row in result["rows"]} == {
        (sampler, batch) for sampler in ("curriculum", "thompson", "numpy") for batch in (128, 4096)
    }
    assert all(row["draws_per_second"] > 0 and row["megabytes"] >= 0 for row in result["rows"])
