// Building blocks: elements, icons, menus, dialogs, toasts and calls to the server.
import { language, t } from "./words.js";

/** el("p.big", {part: "text", onclick}, ...children): text always becomes a text node, never markup. */
export function el(spec, props, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  node.className = classes.join(" ");
  if (tag === "button") node.type = "button";
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "part") node.dataset.role = value;
    else if (key === "hint") { node.title = value; node.ariaLabel = value; }
    else if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** Text that somebody else wrote: its direction follows its letters. */
export const said = (tag, text) => el(tag, { dir: "auto" }, text);

/** A round button with a picture and a spoken name. */
export const round = (name, hint, act, props = {}) => el("button.round", { hint, onclick: act, ...props }, icon(name));

/** An avatar with initials, its colour taken from the person's id. */
export function avatar(person, size = "") {
  const letters = [person.first_name, person.last_name].filter(Boolean).map((name) => [...name][0]);
  const node = el(`span.avatar${size}`, { ariaHidden: "true" }, letters.join("").toUpperCase());
  node.style.setProperty("--hue", (Math.abs(Number(person.id ?? person.user_id ?? 0)) * 67 + 200) % 360);
  return node;
}

export const fullName = (person) => [person.first_name, person.last_name].filter(Boolean).join(" ");

/** Call the playground; a refusal is thrown with the server's own words. */
export async function api(path, body, method = body === undefined ? "GET" : "POST") {
  const form = body instanceof FormData;
  const headers = { "Accept-Language": language, ...(body && !form && { "Content-Type": "application/json" }) };
  const answer = await fetch(`/play/api/${path}`, { method, headers, body: form ? body : body && JSON.stringify(body) });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error ?? `${answer.status} ${answer.statusText}`);
  return content;
}

/** Let an anchor button open a menu that `fill` builds anew each time. */
export function attachMenu(anchor, fill, { className = "" } = {}) {
  const menu = el(`div.menu${className}`, { popover: "auto" });
  menu.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    const box = anchor.getBoundingClientRect();
    const below = box.top + box.height / 2 < innerHeight / 2;
    const left = box.left + box.width / 2 < innerWidth / 2;
    menu.style.inset = [below ? `${box.bottom + 6}px` : "auto", left ? "auto" : `${innerWidth - box.right}px`,
      below ? "auto" : `${innerHeight - box.top + 6}px`, left ? `${box.left}px` : "auto"].join(" ");
    menu.style.maxHeight = `${(below ? innerHeight - box.bottom : box.top) - 18}px`;
    menu.replaceChildren(...[fill(menu)].flat());
  });
  menu.addEventListener("toggle", (event) => { // on a small screen it may reach over the edge
    if (event.newState !== "open") return;
    const box = menu.getBoundingClientRect();
    if (box.left < 8 || box.right > innerWidth - 8) {
      menu.style.right = "auto";
      menu.style.left = `${Math.max(8, innerWidth - 8 - box.width)}px`;
    }
  });
  anchor.popoverTargetElement = menu;
  return [anchor, menu];
}

/** One line of a menu; the menu closes when it is chosen. */
export function menuItem(name, label, act, props = {}) {
  const choose = (event) => { event.currentTarget.closest("[popover]").hidePopover(); act(); };
  return el("button.item", { onclick: choose, ...props }, name && icon(name), el("span", null, label));
}

/** Cover a host (a phone or the page) with a node until it is closed; Escape closes. */
export function cover(host, node, onClose = () => {}) {
  const before = document.activeElement;
  const here = host.contains(before) || before === document.body; // never take the focus from another phone
  const covered = [...host.children].filter((child) => !child.inert && !child.matches(".toasts"));
  const close = () => {
    if (!layer.isConnected) return;
    layer.remove();
    for (const child of covered) child.inert = false;
    if (here && before.isConnected) before.focus();
    onClose();
  };
  const escape = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  };
  const layer = el("div.layer", { onkeydown: escape }, node);
  for (const child of covered) child.inert = true;
  host.append(layer);
  if (here) (node.querySelector("[autofocus]") ?? node.querySelector("input, select, button"))?.focus();
  return close;
}

function field({ name, label, options, ...rest }) {
  const input = options
    ? el("select", { name }, options.map(([value, text]) => el("option", { value, selected: value === rest.value }, text)))
    : el("input", { name, dir: "auto", autocomplete: "off", ...rest });
  return el("label.field", null, el("span", null, label), input);
}

/** Ask in a small dialog; resolves to the fields' values, or null when it was closed. */
export function ask(host, { title, text, fields = [], ok = t("ok"), cancel = true }) {
  return new Promise((resolve) => {
    let answer = null;
    const form = el("form.dialog", { role: "alertdialog", ariaModal: "true", ariaLabel: title ?? text },
      title && el("h2", null, title), text && said("p", text), fields.map(field),
      el("div.dialog-keys", null,
        cancel && el("button.quiet", { part: "dialog-cancel", onclick: () => close() }, t("cancel")),
        el("button.primary", { type: "submit", part: "dialog-ok", autofocus: !fields.length }, ok)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = Object.fromEntries(new FormData(form));
      close();
    });
    const close = cover(host, form, () => resolve(answer));
  });
}

export function toast(host, text, { url } = {}) {
  const link = url && el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url);
  const note = el("div.toast", { part: "toast", dir: "auto" }, text, link);
  host.querySelector(":scope > .toasts").append(note);
  setTimeout(() => note.remove(), 3000 + 40 * text.length);
}

/** Only addresses that cannot run anything in this page. */
export function safeUrl(address) {
  try {
    const url = new URL(/^[a-z][a-z0-9+.-]*:/i.test(address) ? address : `http://${address}`);
    return ["http:", "https:", "tg:", "mailto:", "tel:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

export function openUrl(address) {
  const url = safeUrl(address);
  if (url) window.open(url, "_blank", "noopener,noreferrer");
}
