// The page: people's phones side by side, kept in step with the server by its events.
import { api, avatar, el, fullName, toast } from "./dom.js";
import { Bar } from "./bar.js";
import { Journal } from "./journal.js";
import { Phone } from "./phone.js";
import { language, t } from "./words.js";

const EMPTY = { messages: [], reply_keyboard: null, typing: false, started: false };
const AGAIN = 1500; // milliseconds before the next try to connect

class App {
  constructor() {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    this.phones = new Map();
    this.main = document.querySelector("#phones");
    this.tabs = document.querySelector("#tabs");
    this.tabs.ariaLabel = t("people");
    this.journal = new Journal((count) => this.bar.showRefusals(count));
    this.bar = new Bar(this, this.journal);
    this.narrow = matchMedia("(max-width: 760px)");
    this.narrow.addEventListener("change", () => this.countUnread());
    document.addEventListener("visibilitychange", () => document.querySelector(".phone:hover")?.dispatchEvent(new Event("focusin")));
    this.refresh();
  }

  /** Draw everything anew from the server, then follow its events. */
  async refresh() {
    this.events?.close();
    clearTimeout(this.again);
    try {
      const state = await api("state");
      this.show(state);
      if (state.has_panel) this.bar.showPanel(await api("panel"));
      await this.journal.load();
      this.follow(state.last_event);
    } catch {
      this.lost();
    }
  }

  show({ bot, people, chats, faults }) {
    this.bot = bot;
    this.bar.describe(bot);
    this.bar.showFaults(faults);
    const known = new Set(people.map(({ id }) => id));
    for (const [id, phone] of this.phones) if (!known.has(id)) this.drop(id, phone);
    for (const person of people) this.meet(person).load(chats[person.id] ?? EMPTY);
    if (!this.phones.has(this.current)) this.choose(people[0]?.id);
    this.countUnread();
    document.body.classList.add("ready");
  }

  follow(after) {
    this.last = after;
    this.events = new EventSource(`/play/api/events?after=${after}`);
    this.events.onopen = () => document.body.classList.remove("offline");
    this.events.onmessage = ({ lastEventId, data }) => {
      const [number, event] = [Number(lastEventId), JSON.parse(data)];
      if (number > this.last + 1 || event.type === "reset") { this.refresh(); return; }
      if (number <= this.last) return;
      this.last = number;
      this.take(event);
    };
    this.events.onerror = () => this.lost();
  }

  lost() {
    this.events?.close();
    if (!document.body.classList.contains("offline")) toast(document.body, t("reconnecting"));
    document.body.classList.add("offline");
    this.again = setTimeout(() => this.refresh(), AGAIN);
  }

  take(event) {
    const phone = this.phones.get(event.person_id);
    const deeds = {
      message: () => phone.receive(event.message),
      edit: () => phone.replace(event.message),
      delete: () => phone.remove(event.message_id),
      typing: () => phone.showTyping(event.action),
      keyboard: () => phone.showKeyboard(event.reply_keyboard),
      toast: () => phone.notify(event),
      spinner: () => event.on || phone.presses.answered(event.query_id),
      checkout: () => phone.checkout?.query === event.query_id && phone.checkout.show(event.state, event.error_message),
      person: () => this.meet(event.person),
      commands: () => this.phones.forEach((one) => { one.composer.known = null; }),
      faults: () => this.bar.showFaults(event.faults),
      journal: () => this.journal.receive(event.entry),
      panel: () => this.bar.showPanel(event.panel),
    };
    if (phone || event.person_id === undefined) deeds[event.type]?.();
  }

  /** The phone of a person, made when it is new. */
  meet(person) {
    let phone = this.phones.get(person.id);
    if (phone) {
      phone.describe(person);
      this.drawTab(phone);
      return phone;
    }
    phone = new Phone(this, person);
    this.phones.set(person.id, phone);
    this.main.append(phone.node);
    phone.tab = el("button.tab", { role: "tab", "data-tab": person.id,
      onclick: () => this.choose(person.id), onkeydown: (event) => this.step(event) });
    this.tabs.append(phone.tab);
    this.drawTab(phone);
    phone.load(EMPTY);
    return phone;
  }

  drop(id, phone) {
    phone.node.remove();
    phone.tab.remove();
    this.phones.delete(id);
  }

  drawTab({ tab, person }) {
    tab.replaceChildren(avatar(person, ".small"), el("span", { dir: "auto" }, fullName(person)));
  }

  choose(id) {
    this.current = id;
    for (const [one, phone] of this.phones) {
      phone.node.classList.toggle("current", one === id);
      phone.tab.ariaSelected = String(one === id);
      phone.tab.tabIndex = one === id ? 0 : -1;
    }
    this.phones.get(id)?.seen();
  }

  step(event) {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!way) return;
    const ids = [...this.phones.keys()];
    this.choose(ids.at((ids.indexOf(this.current) + way) % ids.length));
    this.phones.get(this.current).tab.focus();
  }

  visible(phone) {
    return !document.hidden && (!this.narrow.matches || phone.person.id === this.current);
  }

  countUnread() {
    let all = 0;
    for (const phone of this.phones.values()) {
      if (phone.tab) phone.tab.dataset.unread = phone.unread || "";
      all += phone.unread;
    }
    document.title = `${all ? `(${all}) ` : ""}${this.bot?.first_name ?? ""} · ${t("playground")}`;
  }
}

new App();
