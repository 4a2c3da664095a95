// One message as a bubble, whatever it carries.
import { attachMenu, avatar, el, fullName, icon, menuItem, round, said } from "./dom.js";
import { renderText } from "./entities.js";
import { inlineKeyboard } from "./keyboard.js";
import { money, t, timeOf } from "./words.js";

const fileUrl = (file, name) => `/play/api/file/${file.file_unique_id}${name ? `?name=${encodeURIComponent(name)}` : ""}`;

function enlarge(source, caption) {
  const close = () => view.close();
  const view = el("dialog.lightbox", { onclick: close, onclose: () => view.remove() },
    el("img", { src: source, alt: caption ?? t("photo") }), round("close", t("close"), close));
  document.body.append(view);
  view.showModal();
}

function photo(message) {
  const largest = message.photo.at(-1);
  const source = fileUrl(largest);
  return el("button.photo", { hint: t("enlarge"), part: "photo", onclick: () => enlarge(source, message.caption) },
    el("img", { src: source, alt: message.caption ?? t("photo"), width: largest.width, height: largest.height }));
}

function size(bytes) {
  if (!bytes) return "";
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

const card = (picture, title, detail, tag = "div", props = {}) =>
  el(`${tag}.card`, props, el("span.card-icon", null, picture),
    el("span.card-text", null, said("b", title), said("small", detail)));

const file = ({ document: { file_name: name = t("document"), ...rest } }) =>
  card(icon("file"), name, size(rest.file_size), "a", { href: fileUrl(rest, name), download: name, part: "document" });

const place = ({ latitude, longitude }) => `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`;

function map(location) {
  return el("div.map", { role: "img", ariaLabel: `${t("place")} ${place(location)}` }, icon("pin"));
}

function invoice(message) {
  const { title, description, total_amount: total, currency } = message.invoice;
  const stamp = message.invoice_paid && el("span.stamp", { part: "paid" }, icon("tick"), t("paid"));
  return el("div.invoice", { part: "invoice" },
    el("div.invoice-head", null, icon("card"), el("span", null, t("invoice")), stamp),
    said("h3", title), said("p", description), el("strong.amount", null, money(total, currency)));
}

const contents = {
  photo, document: file, invoice,
  voice: ({ voice }) => el("audio", { src: fileUrl(voice), controls: true, preload: "none", ariaLabel: t("voice") }),
  audio: ({ audio }) => el("audio", { src: fileUrl(audio), controls: true, preload: "none" }),
  video: ({ video }) => el("video", { src: fileUrl(video), controls: true, preload: "metadata", ariaLabel: t("video") }),
  venue: ({ venue }) => [map(venue.location), card(icon("pin"), venue.title, venue.address)],
  location: ({ location }) => [map(location), card(icon("pin"), t("place"), place(location))],
  contact: ({ contact }) => card(avatar(contact), fullName(contact), contact.phone_number),
  sticker: ({ sticker }) => el("span.sticker", null, sticker.emoji ?? "🙂"),
};

const NAMES = { audio: "voice", sticker: "unsupported", location: "place", venue: "place" };

/** A few words for a message, for reply quotes. */
export function summary(message) {
  const kind = Object.keys(contents).find((key) => message[key]);
  const named = message.invoice?.title ?? message.document?.file_name ?? message.sticker?.emoji;
  return message.text ?? message.caption ?? named ?? (kind ? t(NAMES[kind] ?? kind) : "");
}

function quote(phone, { reply_to_message: original }) {
  const seek = () => phone.seek(original.message_id);
  return el("button.quote", { part: "quote", onclick: seek }, said("b", fullName(original.from)), said("span", summary(original)));
}

function actions(phone, message) {
  const text = message.text ?? message.caption;
  const anchor = el("button.actions", { hint: t("message_menu"), part: "message-menu" }, icon("down"));
  return attachMenu(anchor, () => [
    menuItem("reply", t("reply"), () => phone.composer.answer(message), { part: "reply" }),
    message.out && message.text && menuItem("pen", t("edit"), () => phone.composer.edit(message), { part: "edit" }),
    text && menuItem("copy", t("copy"), () => phone.copy(text)),
    !message.out && menuItem("keys", t("press_data"), () => phone.forge(message), { part: "press-data" }),
  ].filter(Boolean));
}

const touch = matchMedia("(hover: none)");
const OWN_TAPS = "a, button, [role=button], [popover], .folded, audio, video";

/** The node of a message in a phone. */
export function renderMessage(phone, message) {
  const paid = message.successful_payment;
  if (paid) {
    const line = t("paid_line", { total: money(paid.total_amount, paid.currency) });
    return el("div.service", { "data-message": message.message_id }, icon("tick"), line);
  }
  const kind = Object.keys(contents).find((key) => message[key]);
  const text = message.text ?? message.caption ?? (kind ? "" : t("unsupported"));
  const marks = message.entities ?? message.caption_entities;
  const body = el("span", { part: "text" }, renderText(text, marks, (command) => phone.say(command)));
  const edited = message.edit_date && el("i", { part: "edited" }, t("edited"));
  const meta = el("span.meta", null, edited, el("time", null, timeOf(message.date)), message.out && icon("tick"));
  const [more, menu] = actions(phone, message);
  const tap = (event) => {
    if (touch.matches && !event.target.closest(OWN_TAPS)) more.click();
  };
  const bubble = el(`div.bubble${text ? "" : ".bare"}`, { onclick: tap },
    message.reply_to_message && quote(phone, message), kind && contents[kind](message),
    el("div.text", { dir: "auto" }, body, meta), more, menu);
  const keys = message.reply_markup?.inline_keyboard;
  const classes = `${message.out ? ".out" : ".in"}${keys || message.photo || message.invoice ? ".wide" : ""}`;
  return el(`article.message${classes}`, { "data-message": message.message_id }, bubble, keys && inlineKeyboard(phone, message, keys));
}
