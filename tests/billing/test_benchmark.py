"""The comparison with SAM, once: equal to the cent (which is faster is no matter for tests)."""

import pytest

from benchmarks import tariffs


@pytest.mark.parametrize("subject", [tariffs.tiers(), tariffs.time_of_use()], ids=lambda x: x.name)
def test_a_year_costs_what_sam_says(subject):
    pytest.importorskip("PySAM", reason="NREL-PySAM is not installed (group `benchmarks`)")
    load = tariffs.a_load(7)

    assert tariffs.our_year(subject, load) == tariffs.their_year(tariffs.their_model(subject, load))
