"""Conversation: start, linking an account, language, help, and the way out of any dialogue."""

from bot.context import Command, Handle, Render, Turn
from bot.outgoing import Button, ButtonIsOld, Keyboard, press, read_press
from bot.texts import LOCALES, Texts, clean_line
from core.accounts import linking
from core.accounts import service as accounts
from core.accounts.models import Role

CUSTOMER_SCREENS = (("bills", "usage"), ("repairs", "report"), ("meters", "help"))
TECHNICIAN_SCREENS = (("jobs", "replace"),)
MANAGER_SCREENS = (("open", "outages"), ("cuts", "office"))


def home_keys(turn: Turn) -> Keyboard:
    """Return the buttons of the first screen, by what the person is."""
    rows: list[tuple[str, ...]] = []
    if Role.MANAGER in turn.speaker.roles:
        rows += MANAGER_SCREENS
    if Role.TECHNICIAN in turn.speaker.roles:
        rows += TECHNICIAN_SCREENS
    if turn.speaker.is_customer:
        rows += CUSTOMER_SCREENS
    if not rows:
        rows = [("link", "language")]
    return [
        [Button(turn.texts.plain(f"home.{name}"), press("go", name)) for name in row]
        for row in rows
    ]


def back_home(texts: Texts) -> Button:
    """Return the button that leads to the first screen."""
    return Button(texts.plain("home.back"), press("go", "home"))


async def start(turn: Turn) -> None:
    """Welcome a person; with a code from a link or paper, offer what it opens."""
    if turn.said.arguments:
        await _look_up(turn, turn.said.arguments[0])
        return
    await show_home(turn)
    if turn.speaker.is_customer or turn.speaker.roles:
        await turn.send("menu.commands")  # whoever was known before the first word, too


async def show_home(turn: Turn) -> None:
    """Show the first screen."""
    operator = await accounts.get_operator(turn.session)
    known = turn.speaker.is_customer or turn.speaker.roles
    await turn.show(
        "home.known" if known else "home.stranger",
        keyboard=home_keys(turn),
        name=turn.speaker.name,
        operator=operator.name,
        hotline=operator.hotline,
    )


async def link(turn: Turn) -> None:
    """Take the code after the command, or ask for it."""
    if turn.said.arguments:
        await _look_up(turn, turn.said.arguments[0])
        return
    await turn.ask("link.code")
    await turn.show("link.ask", keyboard=[[cancel_key(turn.texts)]])


async def receive_code(turn: Turn) -> None:
    """Take a typed code."""
    await _look_up(turn, clean_line(turn.said.text, length_max=64))


async def _look_up(turn: Turn, code: str) -> None:
    invited = await linking.find_invitation(
        turn.session, code=code, contact_id=turn.speaker.contact_id, now=turn.now
    )
    if invited is None:
        await turn.ask("link.code")
        await turn.say("link.not_valid", keyboard=[[cancel_key(turn.texts)]])
        return
    await turn.ask("link.confirm", invitation=invited.invitation_id)
    answers = [
        [
            Button(turn.texts.plain("link.yes"), press("link", "yes")),
            Button(turn.texts.plain("link.no"), press("cancel")),
        ]
    ]
    if invited.role is not None:
        role = turn.texts.plain(f"role.{invited.role}")
        await turn.say("link.confirm_role", keyboard=answers, role=role)
    else:
        await turn.say(
            "link.confirm_account",
            keyboard=answers,
            number=invited.account_number,
            address=invited.masked_address,
        )


async def press_link(turn: Turn) -> None:
    """Accept the invitation that this chat has just shown the code of."""
    read_press(turn.said.data, str)
    turn.expect("link.confirm")
    await _accept(turn)


async def receive_answer(turn: Turn) -> None:
    """Take a typed yes or no to the invitation."""
    word = clean_line(turn.said.text, length_max=20).casefold()
    if word in turn.texts.plain("word.yes").split("|"):
        await _accept(turn)
    elif word in turn.texts.plain("word.no").split("|"):
        await cancel(turn)
    else:
        await turn.say("link.yes_or_no")


async def _accept(turn: Turn) -> None:
    await linking.accept(
        turn.session,
        invitation_id=turn.draft["invitation"],
        contact_id=turn.speaker.contact_id,
        now=turn.now,
    )
    await turn.finish()
    turn.speaker = await accounts.get_speaker(turn.session, contact_id=turn.speaker.contact_id)
    await turn.show("link.done", keyboard=home_keys(turn))
    await turn.send("menu.commands")


async def language(turn: Turn) -> None:
    """Offer the languages, each in its own name."""
    keys = [
        [Button(turn.texts.plain(f"language.{locale}"), press("lang", locale))]
        for locale in LOCALES
    ]
    await turn.show("language.ask", keyboard=[*keys, [back_home(turn.texts)]])


async def press_language(turn: Turn) -> None:
    """Switch to the language that was pressed."""
    (locale,) = read_press(turn.said.data, str)
    if locale not in LOCALES:
        raise ButtonIsOld
    await accounts.set_locale(turn.session, person_id=turn.person_id, locale=locale)
    turn.texts = turn.texts.in_language(locale)
    await turn.show("language.done", keyboard=home_keys(turn))
    await turn.send("menu.commands")


async def help_(turn: Turn) -> None:
    """Say in a few lines what can be done here and whom to call."""
    operator = await accounts.get_operator(turn.session)
    parts = [turn.texts.get("help.intro", operator=operator.name)]
    if turn.speaker.is_customer:
        parts.append(turn.texts.get("help.customer"))
    if Role.TECHNICIAN in turn.speaker.roles:
        parts.append(turn.texts.get("help.technician"))
    if Role.MANAGER in turn.speaker.roles:
        parts.append(turn.texts.get("help.manager"))
    if len(parts) == 1:
        parts.append(turn.texts.get("help.stranger"))
    parts.append(turn.texts.get("help.hotline", hotline=operator.hotline))
    await turn.draw("\n\n".join(parts), keyboard=[[back_home(turn.texts)]])


async def cancel(turn: Turn) -> None:
    """Leave the open dialogue, if there is one, and say so."""
    ended = await turn.finish()
    await turn.show("cancel.done" if ended else "cancel.nothing", keyboard=home_keys(turn))


def cancel_key(texts: Texts) -> Button:
    """Return the button that leaves the open dialogue."""
    return Button(texts.plain("cancel.key"), press("cancel"))


async def not_understood(turn: Turn) -> bool:
    """Answer words that nobody else takes; always the last resort."""
    key = "unknown.file" if turn.said.is_other else "unknown.words"
    await turn.say(key, keyboard=home_keys(turn))
    return True


COMMANDS: dict[str, Command] = {
    "start": Command(run=start, in_menu=False),
    "home": Command(run=show_home),
    "help": Command(run=help_),
    "link": Command(run=link),
    "language": Command(run=language),
    "cancel": Command(run=cancel),
}
PRESSES: dict[str, Handle] = {
    "link": press_link,
    "lang": press_language,
    "cancel": cancel,
}
STEPS: dict[str, Handle] = {"link.code": receive_code, "link.confirm": receive_answer}
RENDERERS: dict[str, Render] = {}
