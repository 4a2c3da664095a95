"""Numbers that somebody read in another unit, or without their point. Pure."""

from decimal import Decimal

from core.monitoring.registers import advance, capacity_of

UNUSUAL_TIMES = 5
# Litres for cubic metres, watt-hours for kilowatt-hours, a decimal wheel counted in; or the other
# way round. Units: powers of ten.
SHIFTS = (-3, -1, 1, 3)
LAST_PLACE = Decimal("0.000001")


def find_meant(
    before: Decimal,
    value: Decimal,
    *,
    digits: int,
    days: Decimal,
    usual_per_day: Decimal,
    most_per_day: Decimal,
) -> Decimal | None:
    """
    Return what a number was probably meant to be, if it fits only by a factor of 10 or 1000.

    It does not fit as it is when the register would have gone back, or on by far more than usual.
    Where two factors would do, nothing is certain and nothing returned.

    Nothing is suggested beyond `most_per_day`, though something absurd was accepted before and is
    taken for usual now.

    Units: as the register; those `per_day` as well, `days` since the reading before.
    """
    fits_up_to = usual_per_day * max(days, Decimal(1)) * UNUSUAL_TIMES
    went = advance(before, value, digits=digits)
    if went is not None and went <= fits_up_to:
        return None
    most = min(fits_up_to, most_per_day * max(days, Decimal(1)))
    meant = [
        shifted
        for shifted in (value.scaleb(shift) for shift in SHIFTS)
        if before < shifted < capacity_of(digits)
        and shifted - before <= most
        and not shifted % LAST_PLACE
    ]
    return meant[0] if len(meant) == 1 else None
