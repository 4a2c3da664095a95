"""How a repair looks in the chat: its card, its history, and the buttons that fit its state."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from bot.outgoing import Button, Keyboard, Outgoing, press
from bot.texts import Markup, Texts
from core.monitoring.leak_rules import LeakKind
from core.monitoring.models import LeakAnswer, Quantity
from core.repairs.intake import SWITCH
from core.repairs.journal import News
from core.repairs.models import Cause
from core.repairs.queries import Happening, RepairLine, RepairView
from core.repairs.workflow import ENDED, UNCLAIMED, UNDERWAY, Act, Party, State, may

CUSTOMER = frozenset({Party.CUSTOMER, Party.REPORTER})
TECHNICIAN = frozenset({Party.TECHNICIAN, Party.ASSIGNED})
MANAGER = frozenset({Party.MANAGER})
HISTORY_LINES_MAX = 25
LITRES = 1000
STEPS = (State.ACCEPTED, State.ON_THE_WAY, State.ARRIVED, State.WORKING, State.FIXED, State.CLOSED)
ROWS = (
    (Act.CONFIRM, Act.DENY),
    (Act.CLAIM,),
    (Act.ON_THE_WAY, Act.ARRIVED, Act.WORKING),
    (Act.WAIT, Act.FIXED),
    (Act.HAND_BACK, Act.ASSIGN),
    (Act.CANCEL,),
)
FAMILY = {Act.FIXED: "rfix", Act.WAIT: "rwait", Act.ASSIGN: "rassign"}


def draw(view: RepairView, texts: Texts, *, parties: frozenset[Party] | None = None) -> Outgoing:
    """Return a repair's card for somebody with these parts in it, by default all of their own."""
    shown = view.parties if parties is None else view.parties & parties
    return Outgoing(text=card_text(view, texts, shown), keyboard=keys(view, texts, shown))


def card_text(view: RepairView, texts: Texts, parties: frozenset[Party]) -> str:
    """Return all that a card says, as HTML."""
    question = _question(view, texts, parties)
    return texts.lines(
        [
            title(view, texts),
            *facts(view, texts, parties),
            "",
            *(
                texts.get(f"repair.step_{when}", step=texts.get(f"repair.state_{state}"))
                for when, state in steps(view)
            ),
            *(["", question] if question is not None else []),
        ]
    )


def title(line: RepairLine, texts: Texts) -> str:
    """Return the first line of a repair: number, service, place."""
    return texts.get(
        "repair.title",
        number=line.number,
        service=texts.get(f"service.{line.service}"),
        address=place(line, texts),
    )


def place(line: RepairLine, texts: Texts) -> str:
    """Return where a repair is: one home, or an incident's area with the number of its homes."""
    if line.area_id is None:
        return line.address
    return texts.count("repair.place_homes", line.homes, place=line.address)


def summary(line: RepairLine, texts: Texts) -> str:
    """Return a repair as one entry of a list: what, where, how far, until when."""
    parts = [title(line, texts), texts.get(f"repair.state_{line.state}")]
    if line.technician_name is not None:
        parts.append(texts.get("repair.technician", name=line.technician_name))
    if line.promised_at is not None and line.state not in {*ENDED, State.FIXED}:
        parts.append(texts.get("repair.promised", moment=texts.moment(line.promised_at)))
    if line.severity and line.state not in ENDED:
        parts.append(texts.get(f"repair.severity_{line.severity}"))
    if line.is_late:
        parts.append(texts.get("repair.late"))
    return texts.lines(parts)


def cause(view: RepairView, texts: Texts, parties: frozenset[Party]) -> str:
    """Return what is wrong, with the value and the normal range in plain words."""
    if view.measured is not None:
        measured = view.measured
        what = texts.get(
            f"repair.cause_{view.cause}",
            value=texts.quantity(measured.worst, measured.quantity),
            limit=texts.quantity(measured.limit, measured.quantity),
            since=texts.moment(measured.began_at),
        )
        if view.area_id is None:
            return what
        whose = "own" if Party.CUSTOMER in parties else "worst"
        return texts.get(f"repair.{whose}_home", what=Markup(what))
    words = view.history[0].details.get("text", "")
    if view.cause is Cause.REPORTED and words:
        return texts.get("repair.cause_words", text=words)
    leak = next((row for row in reversed(view.history) if "rate" in row.details), None)
    if leak is not None:
        return _leak(leak, texts)
    return texts.get(f"repair.cause_{view.cause}")


def _leak(row: Happening, texts: Texts) -> str:
    """Return how much runs since when, and whether that is a burst."""
    is_burst = row.details["pattern"] == LeakKind.BURST
    rate = Decimal(row.details["rate"]) * LITRES
    return texts.get(
        "repair.cause_burst" if is_burst else "repair.cause_leak_rate",
        rate=texts.number(rate, places_max=0),
        since=texts.moment(datetime.fromisoformat(row.details["since"])),
    )


def _people(view: RepairView, texts: Texts, parties: frozenset[Party]) -> Iterable[str]:
    if parties & (TECHNICIAN | MANAGER):
        if view.meter_serial is not None:
            yield texts.get("repair.meter", serial=view.meter_serial)
        if view.contact_name is not None:
            phone = view.contact_phone or texts.get("repair.no_phone")
            yield texts.get("repair.contact", name=view.contact_name, phone=phone)
    if view.technician_name is not None:
        yield texts.get("repair.technician", name=view.technician_name)
    elif view.state in UNCLAIMED:
        yield texts.get("repair.nobody")


def steps(view: RepairView) -> Iterable[tuple[str, State]]:
    """Yield the steps since it was filed or opened again: done, now, and those ahead."""
    reached = [row.state for row in view.history if row.state is not None]
    begins = max(index for index, state in enumerate(reached) if state in UNCLAIMED)
    for state in dict.fromkeys(reached[begins:]):
        if state is not view.state:
            yield "done", state
    yield "now", view.state
    if view.state not in ENDED:
        last = State.WORKING if view.state is State.WAITING else view.state
        for state in STEPS[STEPS.index(last) + 1 :] if last in STEPS else STEPS:
            yield "ahead", state


def facts(view: RepairView, texts: Texts, parties: frozenset[Party]) -> Iterable[str]:
    """Yield what is known of a repair, each line as HTML."""
    yield cause(view, texts, parties)
    if view.severity and view.state not in ENDED:
        yield texts.get(f"repair.severity_{view.severity}")
    if view.state is State.MERGED:
        yield happening(_latest(view, "merge"), texts)
        return
    yield from _people(view, texts, parties)
    yield from _promise(view, texts)
    yield from _evidence(view, texts, parties)
    yield from _words(view, texts)


def _promise(view: RepairView, texts: Texts) -> Iterable[str]:
    """Yield the promised time; the older ones stay readable, crossed out and counted."""
    if view.promised_at is None or view.state in ENDED:
        return
    older = [
        moment
        for moment in dict.fromkeys(row.promised_at for row in view.history if row.promised_at)
        if moment != view.promised_at
    ]
    if view.promise_moves:
        crossed = Markup(" ".join(f"<s>{texts.moment(moment)}</s>" for moment in older))
        yield texts.count(
            "repair.promised_moved",
            view.promise_moves,
            older=crossed,
            moment=texts.moment(view.promised_at),
        )
    else:
        yield texts.get("repair.promised", moment=texts.moment(view.promised_at))
    if view.state is State.WAITING:
        yield texts.get("repair.waiting_for", reason=reason(_latest(view, "wait"), texts))
    if view.is_late:
        yield texts.get("repair.late")


def _evidence(view: RepairView, texts: Texts, parties: frozenset[Party]) -> Iterable[str]:
    """Yield what the meter says now, and how often it was opened again."""
    measured = view.measured
    if view.homes_back:
        yield texts.get("repair.homes_back", back=view.homes_back, homes=view.homes)
    if measured is not None and measured.ended_at is not None and measured.end_value is not None:
        if view.area_id is None or Party.CUSTOMER in parties:
            yield texts.get(
                f"repair.normal{_silence(measured.quantity)}",
                moment=texts.moment(measured.ended_at),
                value=texts.quantity(measured.end_value, measured.quantity),
            )
    elif measured is not None and measured.is_abnormal and measured.latest is not None:
        key = "repair.disagrees" if view.state in {*ENDED, State.FIXED} else "repair.still"
        yield texts.get(key, value=texts.quantity(measured.latest, measured.quantity))
    elif measured is not None and measured.is_abnormal and measured.latest_at is not None:
        yield texts.get("repair.unknown", since=texts.moment(measured.latest_at))
    if view.cause is Cause.SUPPLY_SWITCH and view.normal_at is not None:
        yield texts.get("repair.normal_switch", moment=texts.moment(view.normal_at))
    begun = [row for row in view.history if "alarm_id" in row.details and row.kind != "normal"]
    if view.area_id is None and len(begun) > 1:
        yield texts.count("repair.times", len(begun), since=texts.moment(begun[0].at))
    if view.reopened_count:
        yield texts.count("repair.reopened", view.reopened_count)


def _words(view: RepairView, texts: Texts) -> Iterable[str]:
    spoken = [row for row in view.history[1:] if "text" in row.details and row.who]
    if spoken:
        latest = spoken[-1]
        yield texts.get("repair.words", who=latest.who, text=latest.details["text"])
    photos = sum(len(row.photo_ids) for row in view.history)
    if photos:
        yield texts.count("repair.photos", photos)


def _question(view: RepairView, texts: Texts, parties: frozenset[Party]) -> str | None:
    if Party.CUSTOMER not in parties or view.answered:
        return None
    if view.is_off and view.state is State.FIXED:
        return texts.get("repair.ask_supplied")
    if view.state is State.FIXED:
        return texts.get("repair.ask_fixed" if view.area_id is None else "repair.ask_home")
    if view.state is State.NEW and view.normal_at is not None:
        return texts.get("repair.ask_normal")
    return None


def _latest(view: RepairView, kind: str) -> Happening:
    return next(row for row in reversed(view.history) if row.kind == kind)


def reason(row: Happening, texts: Texts) -> str:
    """Return why something waits or moves; words of one's own stand for `other`."""
    kind = row.details.get("reason", "other")
    return row.details.get("text") or texts.plain(f"repair.reason_{kind}")


def keys(view: RepairView, texts: Texts, parties: frozenset[Party]) -> Keyboard:
    """Return the buttons of what these parties can do to the repair now."""
    rows = [[act_key(view, texts, act) for act in row if _may(view, act, parties)] for row in ROWS]
    if parties & {Party.ASSIGNED, Party.MANAGER} and view.state in UNDERWAY:
        rows.append([_key(texts, "promise", "rpromise", view.id, view.version)])
    rows.append(
        [_key(texts, "words", "rwords", view.id), _key(texts, "history", "rhistory", view.id)]
    )
    if view.open_leak_id is not None and Party.CUSTOMER in parties:
        rows.append([mine_key(texts, view.open_leak_id)])
    return [row for row in rows if row]


def mine_key(texts: Texts, leak_id: int) -> Button:
    """Return the button that says whose the water of a suspected leak was."""
    return Button(texts.plain("leak.do_mine"), press("leak", leak_id, LeakAnswer.MINE))


def _may(view: RepairView, act: Act, parties: frozenset[Party]) -> bool:
    if act is Act.CONFIRM and view.state is not State.FIXED and view.normal_at is None:
        return False
    if act is Act.CONFIRM and view.is_off:
        return False
    if act in {Act.CONFIRM, Act.DENY} and view.answered:
        return False
    return may(act, state=view.state, parties=parties)


def act_key(line: RepairLine, texts: Texts, act: Act) -> Button:
    """Return the button that does an act to a repair, or asks what it needs."""
    family = FAMILY.get(act)
    if family is not None:
        return _key(texts, act, family, line.id, line.version)
    label = "well" if act is Act.CONFIRM and line.state is not State.FIXED else act.value
    return _key(texts, label, "ract", act.value, line.id, line.version)


def _key(texts: Texts, label: str, family: str, *parts: object) -> Button:
    return Button(texts.plain(f"repair.do_{label}"), press(family, *parts))


def back_to(texts: Texts, repair_id: int) -> Button:
    """Return the button that leads back to a repair's card."""
    return Button(texts.plain("repair.back"), press("repair", repair_id))


def history_text(view: RepairView, texts: Texts) -> str:
    """Return what happened on a repair, line by line: when, who, what, why."""
    rows = view.history[-HISTORY_LINES_MAX:]
    return texts.lines(
        [
            texts.get("repair.history_title", number=view.number),
            "",
            *(
                texts.get(
                    "repair.history_line",
                    moment=texts.moment(row.at),
                    what=Markup(happening(row, texts)),
                )
                for row in rows
            ),
        ]
    )


def happening(row: Happening, texts: Texts) -> str:
    """Return one row of a history as HTML, without its moment."""
    parts = [texts.get(f"repair.event_{row.kind}{_suffix(row)}", **_values(row, texts))]
    if "text" in row.details and "reason" not in row.details:
        parts.append(texts.get("repair.quoted", text=row.details["text"]))
    if "rate" in row.details:
        parts.append(_leak(row, texts))
    if "previous" in row.details:
        parts.append(texts.get("repair.previous", number=row.details["previous"]))
    if "merged" in row.details:
        parts.append(texts.get("repair.merged", numbers=row.details["merged"]))
    if row.photo_ids:
        parts.append(texts.count("repair.photos", len(row.photo_ids)))
    return texts.lines(parts)


def _suffix(row: Happening) -> str:
    """Return the end of the key of a row's sentence."""
    if row.kind == "filed" and row.who is not None:
        return "_by"
    if row.kind == Act.FIXED and "value" in row.details:
        return "_despite"
    if row.kind == Act.FIXED and "unknown_since" in row.details:
        return "_unknown"
    if row.kind in {"filed", "normal"} and "homes" in row.details:
        return "_homes"
    if row.kind in {"filed", "alarm", "normal", "contradicted", "recurred"}:
        return _silence(row.details.get("quantity"))
    return ""


def _silence(quantity: str | None) -> str:
    """Return the end of the keys of sentences in which a silence or a switch is no value."""
    return f"_{quantity}" if quantity in {Quantity.SILENCE, SWITCH} else ""


def news_key(line: RepairLine, row: Happening, news: News) -> str:
    """Return the key of the sentence that tells news."""
    if line.area_id is not None and news in {News.FIXED, News.NORMAL}:
        return f"news.{news}_homes"
    if news is News.FIXED and line.is_off:
        return "news.fixed_off"
    if news in {News.NORMAL, News.CONTRADICTED, News.RECURRED}:
        return f"news.{news}{_silence(row.details.get('quantity'))}"
    return f"news.{news}"


def _values(row: Happening, texts: Texts) -> dict[str, object]:
    quantity = row.details.get("quantity")
    value = row.details.get("value")
    return {
        "who": row.who or texts.get("repair.service_itself"),
        "technician": row.details.get("technician", ""),
        "moment": _moment(row.promised_at, texts),
        "reason": reason(row, texts),
        "value": texts.quantity(Decimal(value), quantity) if value and quantity else "",
        "severity": texts.plain(f"repair.level_{row.details.get('severity', 'ordinary')}"),
        **{name: row.details.get(name, "") for name in ("homes", "back", "place", "into")},
    }


def _moment(moment: datetime | None, texts: Texts) -> str:
    return "" if moment is None else texts.moment(moment)


def news_values(line: RepairLine, row: Happening, texts: Texts) -> dict[str, object]:
    """Return what the sentences of news can name."""
    return {
        **_values(row, texts),
        "number": line.number,
        "service": texts.get(f"service.{line.service}"),
        "address": place(line, texts),
        "name": line.technician_name or row.details.get("technician", ""),
        "text": row.details.get("text") or texts.get("repair.photo"),
    }
