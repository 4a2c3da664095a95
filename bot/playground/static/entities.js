// Text with Telegram's entities as DOM nodes. Offsets are UTF-16 units, as JavaScript's own.
import { el, safeUrl } from "./dom.js";
import { t } from "./words.js";

const BLOCKS = new Set(["pre", "blockquote", "expandable_blockquote"]);
const outermost = (a, b) => a.offset - b.offset || b.length - a.length || BLOCKS.has(b.type) - BLOCKS.has(a.type);

const link = (address) => {
  const href = safeUrl(address);
  return href ? el("a", { href, target: "_blank", rel: "noopener noreferrer" }) : el("span");
};

function spoiler() {
  const reveal = () => { node.classList.add("seen"); node.role = null; node.ariaLabel = null; };
  const node = el("span.spoiler", { role: "button", tabIndex: 0, ariaLabel: t("spoiler"), onclick: reveal,
    onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") reveal(); } });
  return node;
}

function expandable() {
  const open = () => node.classList.add("open");
  const node = el("blockquote.folded", { tabIndex: 0, title: t("expand"), onclick: open,
    onkeydown: (event) => { if (event.key === "Enter") open(); } });
  return node;
}

const makers = {
  bold: () => el("strong"), italic: () => el("em"), underline: () => el("u"), strikethrough: () => el("s"), code: () => el("code"),
  pre: (entity) => el("pre", { "data-language": entity.language }),
  blockquote: () => el("blockquote"), expandable_blockquote: expandable, spoiler,
  text_link: (entity) => link(entity.url), url: (_, text) => link(text),
  email: (_, text) => link(`mailto:${text}`), phone_number: (_, text) => link(`tel:${text.replace(/[^\d+]/g, "")}`),
  mention: () => el("span.tag"), text_mention: () => el("span.tag"), hashtag: () => el("span.tag"), cashtag: () => el("span.tag"),
  bot_command: (_, text, tap) => el("button.tag", { onclick: () => tap(text) }),
};

/** Nodes for a text and its entities; `tap` is called with a command that is pressed. */
export function renderText(text, entities = [], tap = () => {}) {
  const root = document.createDocumentFragment();
  fill(root, text, 0, text.length, [...entities].sort(outermost), tap);
  return root;
}

function fill(parent, text, from, to, entities, tap) {
  let at = from;
  for (let rest = entities; rest.length;) {
    const [entity, ...others] = rest;
    const end = Math.min(entity.offset + entity.length, to);
    const node = makers[entity.type]?.(entity, text.slice(entity.offset, end), tap) ?? el("span");
    parent.append(text.slice(at, entity.offset), node);
    fill(node, text, entity.offset, end, others.filter((other) => other.offset < end), tap);
    at = end;
    if (BLOCKS.has(entity.type) && text[at] === "\n") at += 1; // the block already ends the line
    rest = others.map((other) => after(other, at)).filter((other) => other.length > 0).sort(outermost);
  }
  parent.append(text.slice(at, to));
}

/** The part of an entity that lies behind a position: entities may cross. */
function after(entity, position) {
  const offset = Math.max(entity.offset, position);
  return { ...entity, offset, length: entity.offset + entity.length - offset };
}
