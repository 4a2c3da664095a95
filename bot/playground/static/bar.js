// The bar on top: what this is, the host's clock and keys, faults, the journal and reset.
import { api, ask, attachMenu, el, icon, said, toast } from "./dom.js";
import { personFields } from "./phone.js";
import { locale, switchLanguage, t } from "./words.js";

const FAULTS = ["429", "5xx", "lost", "slow", "expired_press", "redeliver", "webhook_down"];

const tool = (name, label, part, act) => el("button.tool", { part, hint: label, onclick: act }, icon(name), el("span", null, label));

const badge = (count, kind = "") => (count ? el(`b.badge${kind}`, null, count) : "");

export class Bar {
  constructor(app, journal) {
    this.app = app;
    this.faults = el("button.tool", { part: "faults", hint: t("faults") });
    this.journalButton = el("button.tool", { part: "journal", hint: t("journal"), onclick: () => journal.toggle() });
    this.activeFaults = el("div", { role: "status" });
    this.panel = el("div.panel", { hidden: true, part: "panel" });
    this.brand = el("div.brand");
    document.querySelector("#bar").append(
      el("div.bar-row", null, el("img", { src: "/static/logo.svg", alt: "", width: 30, height: 30 }), this.brand, el("span.space"),
        tool("plus", t("add_person"), "add-person", () => this.addPerson()),
        ...attachMenu(this.faults, () => this.faultMenu(), { className: ".faults" }), this.journalButton,
        tool("reset", t("reset"), "reset", () => this.reset()), tool("globe", t("other_language"), "page-language", switchLanguage)),
      this.panel);
    this.showRefusals(0);
    setInterval(() => this.tick(), 250);
  }

  describe(bot) {
    this.brand.replaceChildren(said("b", `${bot.first_name} · ${t("playground")}`), el("small", null, t("tagline")));
  }

  async addPerson() {
    const answer = await ask(document.body, { title: t("add_person"), fields: personFields(), ok: t("add_person") });
    const told = Object.entries(answer ?? {}).filter(([, value]) => value.trim());
    const person = answer && (await this.call("people", Object.fromEntries(told)));
    if (!person) return;
    this.app.meet(person).node.scrollIntoView({ behavior: "smooth", inline: "center" });
    this.app.choose(person.id);
  }

  async reset() {
    if (!(await ask(document.body, { title: t("reset"), text: t("reset_ask"), ok: t("reset") }))) return;
    if (await this.call("reset", {})) toast(document.body, t("reset_done"));
  }

  async call(path, body, method) {
    try {
      return await api(path, body, method);
    } catch (error) {
      toast(document.body, error.message);
      return null;
    }
  }

  showFaults(faults) {
    this.faults.classList.toggle("warm", faults.length > 0);
    const clear = () => this.call("faults", undefined, "DELETE");
    this.activeFaults.replaceChildren(
      el("button.item.clear", { part: "clear-faults", disabled: !faults.length, onclick: clear },
        icon("close"), el("span", null, t("clear_faults"))),
      ...faults.map(({ kind, method, seconds, count }) => el("p.active-fault", null, icon("bolt"),
        [t(`fault_${kind}`), method, seconds && `${seconds} s`, count && `×${count}`].filter(Boolean).join(" · "))));
    this.faults.replaceChildren(icon("bolt"), el("span", null, t("faults")), badge(faults.length));
  }

  showRefusals(count) {
    this.journalButton.replaceChildren(icon("list"), el("span", null, t("journal")), badge(count, ".bad"));
  }

  faultMenu() {
    const field = (name, props) => el("label.field", null, el("span", null, t(name)), el("input", { name, autocomplete: "off", ...props }));
    const number = { type: "number", min: 1, max: 600 };
    const form = el("form.fault-form", { onsubmit: (event) => event.preventDefault() },
      field("seconds", { ...number, value: 5 }), field("count", { ...number, value: 1 }), field("method", { placeholder: t("any") }));
    const apply = (kind) => {
      const { seconds, count, method } = Object.fromEntries(new FormData(form));
      this.call("faults", { kind, seconds: Number(seconds), count: Number(count), method: method.trim() || undefined });
    };
    return [el("p.hint", null, t("faults_hint")), form,
      ...FAULTS.map((kind) => el("button.item.fault", { part: "fault", "data-fault": kind, onclick: () => apply(kind) },
        el("span", null, t(`fault_${kind}`)), el("small", null, t(`about_${kind}`)))),
      this.activeFaults];
  }

  showPanel(panel) {
    this.clock = panel.clock && { ...panel.clock, start: new Date(panel.clock.now).getTime(), seen: performance.now() };
    if (this.clock && !this.format) this.makeClock();
    const groups = new Map();
    for (const action of panel.actions) groups.set(action.group, [...(groups.get(action.group) ?? []), action]);
    if (this.shape !== JSON.stringify(panel.actions)) { // an unchanged panel keeps its open menus
      this.shape = JSON.stringify(panel.actions);
      this.panel.replaceChildren(this.clockNode ?? "", ...[...groups].flatMap(([name, actions]) => this.group(name, actions)));
    }
    this.panel.hidden = false;
    this.tick();
  }

  makeClock() {
    this.format = new Intl.DateTimeFormat(locale, { timeZone: this.clock.zone, weekday: "short", year: "numeric", month: "short",
      day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    this.now = el("time", { part: "clock-now" });
    this.rate = el("span.rate");
    this.clockNode = el("div.clock", { title: t("clock") }, icon("clock"), this.now, this.rate);
  }

  tick() {
    if (!this.clock) return;
    const { start, seen, rate, paused, zone } = this.clock;
    this.now.textContent = this.format.format(start + (paused ? 0 : (performance.now() - seen) * rate));
    this.rate.textContent = paused ? t("paused") : t("running", { rate });
    this.clockNode.title = `${t("clock")} · ${zone}`;
    this.clockNode.classList.toggle("warm", paused || rate !== 1);
  }

  group(name, actions) {
    if (!actions.some(({ fields }) => fields?.length)) {
      const key = ({ id, label }) => el("button", { "data-action": id, part: "action",
        onclick: (event) => this.run(id, {}, event.currentTarget) }, label);
      return [el("div.segments", { role: "group", ariaLabel: name }, actions.map(key))];
    }
    const anchor = el("button.tool", { part: "action-group" }, icon("bolt"), el("span", null, name), icon("down"));
    return attachMenu(anchor, () => actions.map((action) => this.actionForm(action)), { className: ".actions-menu" });
  }

  actionForm({ id, label, fields = [] }) {
    const go = el("button.primary", { type: "submit", part: "action" }, label);
    const form = el("form.action", { "data-action": id, onsubmit: (event) => {
      event.preventDefault();
      this.run(id, Object.fromEntries(new FormData(form)), go);
    } }, fields.map((field) => el("select", { name: field.name, hint: field.label },
      field.options.map((option) => el("option", { value: option.value }, option.label)))), go);
    return form;
  }

  async run(action, fields, button) {
    button.classList.add("busy");
    const answer = await this.call("panel", { action, ...fields });
    button.classList.remove("busy");
    if (answer?.message) toast(document.body, answer.message);
    if (answer?.panel) this.showPanel(answer.panel);
  }
}
