// One person's phone: header, the chat with the bot, keys and composer.
import { api, ask, attachMenu, avatar, el, fullName, icon, menuItem, openUrl, round, said, toast } from "./dom.js";
import { Checkout } from "./checkout.js";
import { Composer } from "./composer.js";
import { Presses, replyKeyboard } from "./keyboard.js";
import { renderMessage } from "./message.js";
import { dayOf, locale, t } from "./words.js";

const NEAR = 48; // pixels from the end that still count as the end
const TYPING = 5000; // milliseconds Telegram shows a chat action
const LANGUAGES = "en zh-hans zh-hant ru es fr de pt-br ar fa hi id tr uk vi ja ko".split(" ");
const LETTERS = { "zh-hans": "简", "zh-hant": "繁" };
const languageNames = new Intl.DisplayNames(locale, { type: "language" });

const languageChoices = () => [["", t("no_language")], ...LANGUAGES.map((code) => [code, languageNames.of(code)])];

/** The fields of a person that can be told or changed. */
export const personFields = (person = {}) => [
  { name: "first_name", label: t("first_name"), value: person.first_name ?? "", required: true, maxLength: 64 },
  { name: "last_name", label: t("last_name"), value: person.last_name ?? "", maxLength: 64 },
  { name: "username", label: t("username"), value: person.username ?? "", pattern: "[A-Za-z0-9_]{0,32}" },
  { name: "phone", label: t("phone"), value: person.phone ?? "", type: "tel" },
  { name: "language_code", label: t("language"), value: person.language_code ?? "", options: languageChoices() },
  { name: "note", label: t("note"), value: person.note ?? "", maxLength: 64 },
];

export class Phone {
  constructor(app, person) {
    Object.assign(this, { app, person, messages: new Map(), presses: new Presses(), unread: 0, stuck: true, top: 0, chat: {} });
    this.composer = new Composer(this);
    this.header = el("header.phone-header");
    this.log = el("div.log", { role: "log", ariaLive: "polite", part: "log", tabIndex: 0, onscroll: () => this.scrolled() });
    this.pill = el("button.pill", { part: "new-messages", hidden: true, hint: t("to_bottom"), onclick: () => this.toEnd() });
    this.typing = el("div.typing", { role: "status", hidden: true, part: "typing" });
    this.keys = el("div.reply-keys", { hidden: true, part: "reply-keys" });
    this.gate = el("div.gate", { hidden: true });
    this.content = el("div.content");
    this.log.append(this.content);
    this.node = el("section.phone", { "data-person": person.id, onpointerenter: () => this.seen(), onfocusin: () => this.seen() },
      this.header, el("div.chat", null, this.log, this.typing, this.pill),
      el("footer", null, this.gate, this.composer.node, this.keys), el("div.toasts", { role: "status" }));
    const follow = new ResizeObserver(() => this.stuck && this.toEnd());
    for (const part of [this.log, this.content]) follow.observe(part);
    this.describe(person);
  }

  /** Show who holds this phone; its language or name may have changed. */
  describe(person) {
    this.person = person;
    this.composer.known = null;
    this.node.ariaLabel = t("chat_of", { name: fullName(person) });
    const { language_code: code, blocked } = person;
    this.log.lang = code ?? "";
    const spoken = `${t("language")}: ${code ?? t("no_language")}`;
    const language = el("button.round.lang", { hint: spoken, part: "lang" }, LETTERS[code] ?? code ?? "–");
    const block = round("block", t(blocked ? "unblock" : "block"), () => this.act("block", { blocked: !blocked }),
      { part: "block", ariaPressed: String(Boolean(blocked)) });
    const more = round("more", t("more"), null, { part: "more" });
    const focused = this.header.contains(document.activeElement) && document.activeElement.dataset.role;
    this.header.replaceChildren(avatar(person), el("div.who", null, said("b", fullName(person)), said("small", person.note ?? "")),
      ...attachMenu(language, () => this.languageMenu()), block, ...attachMenu(more, () => this.moreMenu()));
    if (focused) this.header.querySelector(`[data-role="${focused}"]`)?.focus(); // it was drawn anew
    this.showGate();
  }

  languageMenu() {
    return languageChoices().map(([code, name]) => menuItem(null, name, () => this.change({ language_code: code || null }),
      { ariaPressed: String(code === (this.person.language_code ?? "")), "data-language": code }));
  }

  moreMenu() {
    return [
      menuItem("link", t("deep_link"), () => this.deepLink(), { part: "deep-link" }),
      menuItem("pen", t("edit_person"), () => this.editPerson(), { part: "edit-person" }),
      el("a.item", { href: `/play/api/people/${this.person.id}/transcript`, download: `${fullName(this.person)}.txt`, part: "transcript" },
        icon("download"), el("span", null, t("transcript"))),
    ];
  }

  async editPerson() {
    const answer = await ask(this.node, { title: t("edit_person"), fields: personFields(this.person), ok: t("save") });
    if (!answer) return;
    for (const [key, value] of Object.entries(answer)) answer[key] = value.trim() || null;
    await this.change(answer);
  }

  /** Fill the phone with a whole chat, as it is on the server. */
  load(chat) {
    this.chat = { ...chat };
    this.log.ariaBusy = "true"; // what is only loaded is not read out
    this.messages.clear();
    this.content.replaceChildren();
    if (!chat.messages.length) this.content.append(this.welcome());
    for (const message of chat.messages) this.append(message);
    this.showKeyboard(chat.reply_keyboard);
    this.showTyping(chat.typing ? "typing" : null);
    this.showGate();
    if (this.stuck) this.toEnd();
    this.log.ariaBusy = "false";
  }

  welcome() {
    const { bot } = this.app;
    const picture = el("img", { src: "/static/logo.svg", alt: "" });
    return el("div.welcome", null, picture, said("h3", bot.first_name), bot.description && said("p", bot.description));
  }

  append(message) {
    const last = [...this.messages.values()].at(-1);
    this.content.querySelector(".welcome")?.remove();
    if (!last || dayOf(last.date) !== dayOf(message.date)) this.content.append(el("div.day", null, dayOf(message.date)));
    this.content.append(renderMessage(this, message));
    this.messages.set(message.message_id, message);
  }

  receive(message) {
    if (this.messages.has(message.message_id)) return this.replace(message);
    this.append(message);
    this.chat.started = true;
    this.showGate();
    if (message.out) return this.toEnd();
    this.showTyping(null);
    const touched = this.node.matches(":hover") || this.node.contains(document.activeElement);
    if (!touched || !this.stuck || !this.app.visible(this)) this.count(this.unread + 1);
    return undefined;
  }

  replace(message) {
    const node = this.find(message.message_id);
    if (!node) return;
    this.messages.set(message.message_id, message);
    const fresh = renderMessage(this, message);
    fresh.classList.add("changed");
    node.replaceWith(fresh);
  }

  remove(id) {
    this.find(id)?.remove();
    this.messages.delete(id);
    for (const day of this.content.querySelectorAll(".day")) {
      if (!day.nextSibling || day.nextSibling.matches(".day")) day.remove();
    }
  }

  find(id) {
    return this.content.querySelector(`[data-message="${Number(id)}"]`);
  }

  seek(id) {
    this.find(id)?.scrollIntoView({ block: "center", behavior: "smooth" });
  }

  scrolled() {
    const top = this.log.scrollTop;
    const near = this.log.scrollHeight - top - this.log.clientHeight < NEAR;
    if (near || top < this.top) this.stuck = near; // only a person scrolls up; growing content does not
    this.top = top;
    if (this.stuck) this.seen();
    this.showPill();
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    this.stuck = true;
    this.showPill();
  }

  showPill() {
    this.pill.hidden = this.stuck;
    this.pill.replaceChildren(icon("down"), this.unread ? t("new_messages", { count: this.unread }) : "");
  }

  seen() {
    if (this.unread && this.stuck && this.app.visible(this)) this.count(0);
  }

  count(unread) {
    this.unread = unread;
    this.node.dataset.unread = unread;
    this.header.firstChild.dataset.unread = unread || "";
    this.showPill();
    this.app.countUnread();
  }

  showTyping(action) {
    clearTimeout(this.typingTimer);
    this.typing.hidden = !action;
    if (!action) return;
    const known = ["upload_photo", "upload_document", "find_location"].includes(action) ? action : "typing";
    this.typing.replaceChildren(el("span.dots", null, el("i"), el("i"), el("i")), t(known));
    this.typingTimer = setTimeout(() => this.showTyping(null), TYPING);
  }

  showKeyboard(markup) {
    const rows = markup?.keyboard ? replyKeyboard(this, markup) : [];
    this.keys.replaceChildren(...rows);
    this.composer.keysButton.hidden = !rows.length;
    this.composer.input.placeholder = markup?.input_field_placeholder ?? t("write");
    this.showKeys(rows.length > 0);
    const asked = markup?.force_reply && [...this.messages.values()].findLast((message) => !message.out);
    if (asked) this.composer.answer(asked);
  }

  showKeys(on) {
    this.keys.hidden = !on;
    this.composer.keysButton.ariaPressed = String(on);
  }

  /** A blocked bot or a chat not begun leaves one key only. */
  showGate() {
    const { blocked } = this.person;
    const closed = Boolean(blocked || !this.chat.started);
    const key = (part, label, act) => el("button.primary", { part, onclick: act }, label);
    this.node.classList.toggle("is-blocked", Boolean(blocked));
    this.gate.hidden = !closed;
    for (const part of [this.composer.node, this.keys]) part.classList.toggle("shut", closed);
    this.gate.replaceChildren();
    if (blocked) {
      this.gate.append(el("p", null, t("blocked")), key("unblock", t("unblock"), () => this.act("block", { blocked: false })));
    } else if (closed) this.gate.append(key("start", t("start"), () => this.act("start", {})));
  }

  /** Do something as this person; a refusal is shown on the phone. */
  async act(what, body) {
    try {
      return await api(`people/${this.person.id}/${what}`, body);
    } catch (error) {
      toast(this.node, error.message);
      return null;
    }
  }

  say(text, replyTo) {
    return this.act("say", { text, ...(replyTo && { reply_to: replyTo }) });
  }

  async change(fields) {
    await api(`people/${this.person.id}`, fields, "PATCH").catch((error) => toast(this.node, error.message));
  }

  async deepLink() {
    const fields = [{ name: "payload", label: t("payload"), pattern: "[A-Za-z0-9_\\-]{0,64}" }];
    const answer = await ask(this.node, { title: t("deep_link"), fields, ok: t("start") });
    if (answer) await this.act("start", answer.payload ? { payload: answer.payload } : {});
  }

  async sendPlace() {
    const number = (name, value, most) => ({
      name, label: t(name), value, type: "number", step: "any", required: true, min: -most, max: most });
    const fields = [number("latitude", "31.8206", 90), number("longitude", "117.2272", 180)];
    const answer = await ask(this.node, { title: t("place"), ok: t("send"), fields });
    if (answer) await this.act("send_location", { latitude: Number(answer.latitude), longitude: Number(answer.longitude) });
  }

  /** Press as a changed client would: with data the bot never put on a key. */
  async forge(message) {
    const fields = [{ name: "data", label: t("data"), required: true }];
    const answer = await ask(this.node, { title: t("press_data"), fields, ok: t("send") });
    if (answer) await this.act("press_data", { message_id: message.message_id, data: answer.data });
  }

  async copy(text) {
    const done = navigator.clipboard.writeText(text);
    await done.then(() => toast(this.node, t("copied")), (error) => toast(this.node, error.message));
  }

  openCheckout(message, query) {
    this.checkout?.leave();
    this.checkout = new Checkout(this, message, query);
  }

  /** The bot's answer to a press, or its words on a payment. */
  notify({ text, show_alert: alert, url }) {
    if (url) openUrl(url);
    if (!text && !url) return;
    if (alert) ask(this.node, { title: this.app.bot.first_name, text, cancel: false });
    else toast(this.node, text ?? "", { url });
  }

  others() {
    return [...this.app.phones.values()].filter((phone) => phone !== this).map((phone) => phone.person);
  }
}
