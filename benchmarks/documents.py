"""
How many bills a second become PDF: `python -m benchmarks.documents`.

Every bill differs in number, holder, code and use, so that nothing is taken from a cache that a
real run would not have. Pools are started and warmed before the clock runs.
"""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from decimal import Decimal
from multiprocessing import get_context

from bot.documents.charts import usage_chart
from bot.documents.documents import BillDocument, Field, bill_pdf, page_pngs
from tests.documents.samples import LANGUAGES, bill

BILLS = 200
ROUNDS = 5
PROCESSES = (1, 2)


def distinct_bill(serial: int) -> BillDocument:
    """Return a household's water bill that no other serial has."""
    language = LANGUAGES[serial % len(LANGUAGES)]
    sample = bill(language, "water")
    holder = Field(label=sample.parties[0].label, value=f"{chr(0x4E00 + serial % 20000)}{serial}")
    first, *others = sample.usage
    return replace(
        sample,
        number=Field(label=sample.number.label, value=f"W-{serial:010}"),
        parties=(holder, *sample.parties[1:]),
        qr_content=f"https://pay.example.org/b/W-{serial:010}?s=9f3c1a77",
        usage=(replace(first, value=Decimal(serial % 40), text=str(serial % 40)), *others),
    )


def set_bill(serial: int) -> float:
    """Set one bill and return the seconds of processor time it took."""
    document = distinct_bill(serial)
    started = time.process_time()
    bill_pdf(document)
    return time.process_time() - started


def measure_pool(processes: int) -> str:
    """Return the rate of several rounds, by the clock and by the processor time that was had."""
    rates, costs = [], []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(set_bill, range(8 * processes)))
        for number in range(1, ROUNDS + 1):
            serials = range(number * BILLS, (number + 1) * BILLS)
            started = time.perf_counter()
            costs += pool.map(set_bill, serials, chunksize=10)
            rates.append(BILLS / (time.perf_counter() - started))
    return (
        f"{processes} process(es): {statistics.median(rates):.1f} bills/s "
        f"(median of {ROUNDS} rounds of {BILLS}, {min(rates):.1f} to {max(rates):.1f}); "
        f"{1 / statistics.median(costs):.1f} bills per second of processor time"
    )


def median_ms(serials: range, work: Callable[[BillDocument], object]) -> float:
    """Return the median time of one call, in milliseconds."""
    seconds = []
    for serial in serials:
        document = distinct_bill(serial)
        started = time.perf_counter()
        work(document)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000


def draw_chart(document: BillDocument) -> bytes:
    """Draw the thirteen months of a bill."""
    return usage_chart(
        language=document.language,
        service=document.service,
        title=document.number.value,
        unit="m³",
        bars=document.usage,
        highlight=12,
    )


def main() -> None:
    """Measure and print."""
    started = time.perf_counter()
    size = len(bill_pdf(distinct_bill(1)))
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"first bill: {(time.perf_counter() - started) * 1000:.0f} ms, {size / 1000:.0f} kB")
    print(f"one bill, p50: {median_ms(range(10_000, 10_060), bill_pdf):.1f} ms")
    print(f"the page as a picture, p50: {median_ms(range(20_000, 20_012), page_pngs):.1f} ms")
    print(f"usage chart, p50: {median_ms(range(30_000, 30_060), draw_chart):.1f} ms")
    for processes in PROCESSES:
        print(measure_pool(processes))


if __name__ == "__main__":
    main()
