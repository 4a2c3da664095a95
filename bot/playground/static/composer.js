// Where a person writes: text, commands, attachments, replies and edits.
import { api, attachMenu, el, fullName, icon, menuItem, round, said } from "./dom.js";
import { summary } from "./message.js";
import { t } from "./words.js";

export class Composer {
  constructor(phone) {
    this.phone = phone;
    this.target = null; // {message, editing} while a message is answered or edited
    this.input = el("textarea", { rows: 1, dir: "auto", placeholder: t("write"), part: "composer",
      oninput: () => this.typed(), onkeydown: (event) => this.key(event), onpaste: (event) => this.paste(event) });
    this.input.ariaLabel = `${t("write")}: ${fullName(phone.person)}`;
    this.hint = el("div.reply-bar", { hidden: true });
    this.list = el("div.suggestions", { role: "listbox", hidden: true, ariaLabel: t("commands") });
    this.keysButton = round("keys", t("keys"), () => phone.showKeys(phone.keys.hidden), { part: "keys", hidden: true });
    this.node = el("div.composer", null, this.list, this.hint,
      el("div.composer-row", null, this.commandMenu(), this.input, this.keysButton, this.attachments(),
        round("send", t("send"), () => this.send(), { part: "send" })));
  }

  commandMenu() {
    const show = async (menu) => {
      const items = (await this.commands()).map((one) => this.commandItem(one));
      menu.replaceChildren(...(items.length ? items : [el("p.empty", null, t("no_commands"))]));
    };
    const anchor = round("menu", t("commands"), null, { part: "menu" });
    return attachMenu(anchor, (menu) => { show(menu); return []; }, { className: ".commands" });
  }

  commandItem({ command, description }) {
    const item = menuItem(null, `/${command}`, () => this.phone.say(`/${command}`), { part: "command" });
    item.append(said("small", description));
    return item;
  }

  /** The commands this person is shown; asked again after the bot changed them. */
  async commands() {
    this.known ??= await api(`people/${this.phone.person.id}/commands`).catch(() => []);
    return this.known;
  }

  attachments() {
    const pick = (kind, accept) => el("input", { type: "file", accept, multiple: true, hidden: true, part: `file-${kind}`,
      onchange: (event) => this.upload(kind, event.target) });
    const contact = (person) => menuItem("contact", t("contact_of", { name: fullName(person) }),
      () => this.phone.act("send_contact", { user_id: person.id }));
    const [image, any] = [pick("photo", "image/*"), pick("document", "")];
    const anchor = round("attach", t("attach"), null, { part: "attach" });
    return [...attachMenu(anchor, () => [
      menuItem("photo", t("photo"), () => image.click(), { part: "attach-photo" }),
      menuItem("file", t("document"), () => any.click(), { part: "attach-document" }),
      menuItem("contact", t("contact"), () => this.phone.act("send_contact", {}), { part: "attach-contact" }),
      ...this.phone.others().map(contact),
      menuItem("pin", t("place"), () => this.phone.sendPlace(), { part: "attach-place" }),
    ]), image, any];
  }

  async upload(kind, input) {
    for (const file of input.files) await this.sendFile(kind, file);
    input.value = "";
  }

  async sendFile(kind, file) {
    const form = new FormData();
    form.append("kind", kind);
    form.append("file", file);
    if (this.input.value.trim()) form.append("caption", this.input.value.trim());
    if (await this.phone.act("send_file", form)) this.clear();
  }

  paste(event) {
    const image = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
    if (!image) return;
    event.preventDefault();
    this.sendFile("photo", image);
  }

  answer(message) {
    if (this.target?.editing) this.input.value = "";
    this.aim({ message, editing: false });
  }

  edit(message) {
    this.input.value = message.text;
    this.aim({ message, editing: true });
  }

  aim(target) {
    this.target = target;
    const { message, editing } = target;
    const title = el("b", null, editing ? t("editing") : fullName(message.from));
    this.hint.replaceChildren(icon(editing ? "pen" : "reply"), el("span", { dir: "auto" }, title, summary(message)),
      round("close", t("cancel_reply"), () => this.clear()));
    this.hint.hidden = false;
    this.grow();
    const busy = document.activeElement.closest(".phone");
    if (!busy || busy === this.phone.node) this.input.focus(); // never in the middle of somebody else's words
  }

  clear() {
    this.target = null;
    this.hint.hidden = true;
    this.input.value = "";
    this.typed();
  }

  async send() {
    const text = this.input.value;
    if (!text.trim()) return;
    const { message, editing } = this.target ?? {};
    const id = message?.message_id;
    const done = editing ? this.phone.act("edit", { message_id: id, text }) : this.phone.say(text, id);
    this.clear();
    if (!(await done) && !this.input.value) this.input.value = text; // a refused text is not lost
    this.grow();
  }

  key(event) {
    if (event.isComposing) return; // Enter ends a Chinese word, not the message
    const options = this.list.hidden ? [] : [...this.list.children];
    const at = options.findIndex((option) => option.ariaSelected === "true");
    if (options.length && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.highlight(options, at < 0 && step < 0 ? options.length - 1 : (at + step + options.length) % options.length);
    } else if (options.length && event.key === "Tab" && !event.shiftKey) {
      this.input.value = `/${options[Math.max(at, 0)].dataset.command} `;
      this.typed();
    } else if (event.key === "Enter" && !event.shiftKey) {
      if (at >= 0) options[at].click();
      else this.send();
    } else if (event.key === "Escape" && (options.length || this.target)) {
      if (options.length) this.list.hidden = true;
      else this.clear();
    } else return;
    event.preventDefault();
  }

  highlight(options, at) {
    options.forEach((option, index) => { option.ariaSelected = String(index === at); });
    options[at].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", options[at].id);
  }

  async typed() {
    this.grow();
    const start = /^\/(\w*)$/.exec(this.input.value)?.[1].toLowerCase();
    const known = start === undefined ? [] : await this.commands();
    const fitting = known.filter(({ command }) => command.startsWith(start) && this.input.value.startsWith("/"));
    this.list.replaceChildren(...fitting.map((one, index) => this.suggestion(one, index)));
    this.list.hidden = fitting.length === 0;
    this.input.removeAttribute("aria-activedescendant");
  }

  suggestion({ command, description }, index) {
    const choose = () => {
      this.clear();
      this.phone.say(`/${command}`);
      this.input.focus();
    };
    return el("button.suggestion", { id: `command-${this.phone.person.id}-${index}`, role: "option", ariaSelected: "false", tabIndex: -1,
      "data-command": command, part: "suggestion", onclick: choose }, el("b", null, `/${command}`), said("small", description));
  }

  grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, 140)}px`;
  }
}
