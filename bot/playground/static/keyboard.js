// The keys below a message, and the keys below the composer.
import { api, ask, el, icon, openUrl, safeUrl, toast } from "./dom.js";
import { t } from "./words.js";

const PATIENCE = 60_000; // milliseconds after which a press that nobody answered stops spinning

/** Presses that wait for the bot, kept apart from the nodes: an edit draws the keys again. */
export class Presses {
  constructor() {
    this.open = new Set();
    this.settled = new Set(); // the answer can overtake the reply to our own request
  }

  begin(button, host) {
    const press = { key: button.pressKey, host, query: null };
    this.open.add(press);
    button.classList.add("busy");
    setTimeout(() => this.end(press), PATIENCE);
    return press;
  }

  known(press, query) {
    press.query = query;
    if (this.settled.delete(query)) this.end(press);
  }

  answered(query) {
    const press = [...this.open].find((one) => one.query === query);
    if (press) this.end(press);
    else this.settled.add(query);
  }

  end(press) {
    this.open.delete(press);
    for (const button of press.host.querySelectorAll(".inline-keys .busy")) button.classList.toggle("busy", this.has(button.pressKey));
  }

  has(key) {
    return [...this.open].some((press) => press.key === key);
  }
}

const symbols = [["url", "link"], ["login_url", "link"], ["pay", "card"], ["copy_text", "copy"]];

export function inlineKeyboard(phone, message, rows) {
  const line = (row, r) => el("div.keys-row", null, row.map((key, c) => inlineButton(phone, message, key, r, c)));
  return el("div.inline-keys", null, rows.map(line));
}

function inlineButton(phone, message, key, row, col) {
  const [, symbol] = symbols.find(([field]) => key[field] !== undefined) ?? [];
  const pressKey = [message.message_id, row, col, key.callback_data].join(":");
  const button = el("button.key", { part: "inline-button", dir: "auto", onclick: () => press(phone, message, key, row, col, button) },
    key.text, symbol && icon(symbol));
  button.pressKey = pressKey;
  button.classList.toggle("busy", phone.presses.has(pressKey));
  return button;
}

async function press(phone, message, key, row, col, button) {
  const link = key.url ?? key.login_url?.url;
  if (link && safeUrl(link)) return openUrl(link);
  if (key.copy_text) return phone.copy(key.copy_text.text);
  if (key.callback_data === undefined && !key.pay) return toast(phone.node, t("not_here"));
  if (phone.presses.has(button.pressKey)) return undefined;
  const waiting = key.pay ? null : phone.presses.begin(button, phone.node);
  try {
    const answer = await api(`people/${phone.person.id}/press`, { message_id: message.message_id, row, col });
    if (answer.checkout) phone.openCheckout(message, answer.checkout);
    else if (answer.query_id) phone.presses.known(waiting, answer.query_id);
  } catch (error) {
    if (waiting) phone.presses.end(waiting);
    toast(phone.node, error.message);
  }
  return undefined;
}

/** The keys that the bot put in place of the keyboard. */
export function replyKeyboard(phone, markup) {
  const rows = markup.keyboard.map((row) => row.map((key) => (typeof key === "string" ? { text: key } : key)));
  return rows.map((row) => el("div.keys-row", null, row.map((key) => el("button.key", {
    part: "reply-button", dir: "auto", onclick: () => choose(phone, key, markup) },
  key.request_contact && icon("contact"), key.request_location && icon("pin"), key.text))));
}

async function choose(phone, key, markup) {
  if (key.request_contact) {
    if (!(await ask(phone.node, { title: key.text, text: t("share_contact"), ok: t("share") }))) return;
    await phone.act("send_contact", {});
  } else if (key.request_location) {
    await phone.sendPlace();
  } else if (Object.keys(key).some((name) => name.startsWith("request_") || name === "web_app")) {
    toast(phone.node, t("not_here"));
  } else {
    await phone.say(key.text);
  }
  if (markup.one_time_keyboard) phone.showKeys(false);
}
