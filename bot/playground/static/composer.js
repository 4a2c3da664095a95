// Where a person writes: text, commands, attachments, replies and edits.
import { api, attachMenu, el, fullName, icon, menuItem } from "./dom.js";
import { summary } from "./message.js";
import { t } from "./words.js";

export class Composer {
  constructor(phone) {
    this.phone = phone;
    this.target = null; // {message, editing} while a message is answered or edited
    this.input = el("textarea", { rows: 1, dir: "auto", placeholder: t("write"), part: "composer", oninput: () => this.typed(), onkeydown: (event) => this.key(event), onpaste: (event) => this.paste(event) });
    this.input.ariaLabel = `${t("write")}: ${fullName(phone.person)}`;
    this.hint = el("div.reply-bar", { hidden: true });
    this.list = el("div.suggestions", { role: "listbox", hidden: true, ariaLabel: t("commands") });
    this.keysButton = el("button.round", { hint: t("keys"), part: "keys", hidden: true, onclick: () => phone.showKeys(phone.keys.hidden) }, icon("keys"));
    this.node = el("div.composer", null, this.list, this.hint, el("div.composer-row", null, this.commandMenu(), this.input, this.keysButton, this.attachments(),
      el("button.round.send", { hint: t("send"), part: "send", onclick: () => this.send() }, icon("send"))));
  }

  commandMenu() {
    const anchor = el("button.round", { hint: t("commands"), part: "menu" }, icon("menu"));
    return attachMenu(anchor, (menu) => {
      this.commands().then((commands) => menu.replaceChildren(...(commands.length ? commands.map((one) => this.commandItem(one)) : [el("p.empty", null, t("no_commands"))])));
      return [];
    }, { className: ".commands" });
  }

  commandItem({ command, description }) {
    const item = menuItem(null, `/${command}`, () => this.phone.say(`/${command}`), { part: "command" });
    item.append(el("small", { dir: "auto" }, description));
    return item;
  }

  /** The commands this person is shown; asked again after the bot changed them. */
  async commands() {
    this.known ??= await api(`people/${this.phone.person.id}/commands`).catch(() => []);
    return this.known;
  }

  attachments() {
    const pick = (kind, accept) => el("input", { type: "file", accept, multiple: true, hidden: true, "data-role": `file-${kind}`, onchange: (event) => this.upload(kind, event.target) });
    const [image, any] = [pick("photo", "image/*"), pick("document", "")];
    const anchor = el("button.round", { hint: t("attach"), part: "attach" }, icon("attach"));
    return [...attachMenu(anchor, () => [
      menuItem("photo", t("photo"), () => image.click(), { part: "attach-photo" }), menuItem("file", t("document"), () => any.click(), { part: "attach-document" }),
      menuItem("contact", t("contact"), () => this.phone.act("send_contact", {}), { part: "attach-contact" }),
      ...this.phone.others().map((person) => menuItem("contact", t("contact_of", { name: fullName(person) }), () => this.phone.act("send_contact", { user_id: person.id }))),
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
    this.hint.replaceChildren(icon(editing ? "pen" : "reply"), el("span", { dir: "auto" }, el("b", null, editing ? t("editing") : fullName(message.from)), summary(message)),
      el("button.round", { hint: t("cancel_reply"), onclick: () => this.clear() }, icon("close")));
    this.hint.hidden = false;
    this.grow();
    this.input.focus();
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
    const done = editing ? this.phone.act("edit", { message_id: message.message_id, text }) : this.phone.say(text, message?.message_id);
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
    const start = /^\/(\w*)$/.exec(this.input.value)?.[1];
    const fitting = start === undefined ? [] : (await this.commands()).filter(({ command }) => command.startsWith(start.toLowerCase()));
    if (!this.input.value.startsWith("/")) fitting.length = 0; // sent while the commands were asked
    this.list.replaceChildren(...fitting.map(({ command, description }, index) => el("button.suggestion", {
      id: `command-${this.phone.person.id}-${index}`, role: "option", ariaSelected: "false", tabIndex: -1, "data-command": command, part: "suggestion",
      onclick: () => { this.clear(); this.phone.say(`/${command}`); this.input.focus(); } }, el("b", null, `/${command}`), el("small", { dir: "auto" }, description))));
    this.list.hidden = fitting.length === 0;
    this.input.removeAttribute("aria-activedescendant");
  }

  grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, 140)}px`;
  }
}
