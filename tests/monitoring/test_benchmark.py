"""The benchmark of storing batches still runs, and finds every row it stored."""

from benchmarks.ingest import run


async def test_ingest_benchmark_runs_at_its_smallest_size(database_url, capsys):
    await run(database_url, rounds=1, meters=60, hours=3)
    assert "100 a batch" in capsys.readouterr().out
