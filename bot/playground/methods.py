"""The methods of the Bot API that the playground knows, under their names in lower case."""

from collections.abc import Callable
from functools import partial
from typing import Final

from bot.playground import about, media, messages, payments
from bot.playground.account import Account
from bot.playground.params import Params

METHODS: Final[dict[str, Callable[[Account, Params], object]]] = {
    "getme": about.get_me,
    "getchat": about.get_chat,
    "setmycommands": about.set_commands,
    "getmycommands": about.get_commands,
    "deletemycommands": about.delete_commands,
    "setmyname": partial(about.set_text, field="name"),
    "getmyname": partial(about.get_text, field="name"),
    "setmydescription": partial(about.set_text, field="description"),
    "getmydescription": partial(about.get_text, field="description"),
    "setmyshortdescription": partial(about.set_text, field="short_description"),
    "getmyshortdescription": partial(about.get_text, field="short_description"),
    "setwebhook": lambda account, params: account.webhook.set(params),
    "deletewebhook": lambda account, params: account.webhook.delete(params),
    "getwebhookinfo": lambda account, _: account.webhook.describe(),
    "sendmessage": partial(messages.send, read=messages.read_text),
    "sendphoto": partial(messages.send, read=partial(messages.read_file, kind="photo")),
    "senddocument": partial(messages.send, read=partial(messages.read_file, kind="document")),
    "sendvideo": partial(messages.send, read=partial(messages.read_file, kind="video")),
    "sendvoice": partial(messages.send, read=partial(messages.read_file, kind="voice")),
    "sendinvoice": partial(messages.send, read=payments.read_invoice),
    "forwardmessage": partial(messages.send, read=messages.read_forwarded),
    "sendmediagroup": messages.send_album,
    "sendchataction": messages.send_chat_action,
    "editmessagetext": partial(messages.edit, part="text", read=messages.read_text),
    "editmessagecaption": partial(messages.edit, part="caption", read=messages.read_caption),
    "editmessagemedia": partial(messages.edit, part="media", read=messages.read_media),
    "editmessagereplymarkup": partial(messages.edit, part="reply markup", read=lambda *_: {}),
    "deletemessage": messages.delete_message,
    "answercallbackquery": messages.answer_press,
    "answerprecheckoutquery": payments.answer_pre_checkout,
    "getfile": media.get_file,
}
