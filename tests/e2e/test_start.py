"""First words: start, help, language, linking, and words that nobody expects."""

import asyncio

from tests.chat import buttons_of, text_of
from tests.e2e.conftest import Stage


async def test_customer_is_greeted_in_their_language(stage: Stage) -> None:
    hello = await stage.phone(1001).say("/start")

    assert "您好" in text_of(hello)
    assert any("账单" in label for label in buttons_of(hello))


async def test_language_changes_words_and_menu(stage: Stage) -> None:
    phone = stage.phone(1002)
    offer = await phone.say("/language")
    await phone.press(offer, "English")
    await phone.changed(offer, "English")

    assert "Help" in text_of(await phone.say("/help"))


async def test_unknown_words_are_answered_with_buttons(stage: Stage) -> None:
    answer = await stage.phone(3001).say("<b>&\u202e 🙂")

    assert "/help" in text_of(answer)
    assert buttons_of(answer)


async def test_whoever_is_known_already_gets_their_own_menu_at_the_first_word(
    stage: Stage,
) -> None:
    phone = stage.phone(3001)
    await phone.say("/start")
    url = f"{stage.base}/play/api/people/3001/commands"

    for _ in range(100):
        async with stage.http.get(url) as answer:
            menu = {line["command"] for line in await answer.json()}
        if "cuts" in menu:
            break
        await asyncio.sleep(0.05)

    assert {"open", "cuts", "office"} <= menu
    assert "bills" in menu
    assert "pay" not in menu
