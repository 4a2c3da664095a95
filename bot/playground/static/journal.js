// The drawer with the bot's calls: what it asked, what the playground answered.
import { api, el, round, said } from "./dom.js";
import { locale, t } from "./words.js";

const KEPT = 400; // rows

export class Journal {
  constructor(onRefusals) {
    this.node = document.querySelector("#journal");
    this.onRefusals = onRefusals;
    this.last = 0;
    this.refusals = 0; // since the drawer was last open
    this.clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
    this.rows = el("div.rows", { role: "log", ariaLabel: t("journal"), tabIndex: 0 });
    this.search = el("input", { type: "search", placeholder: t("filter"), ariaLabel: t("filter"), oninput: () => this.filter() });
    this.only = el("input", { type: "checkbox", part: "refusals-only", onchange: () => this.filter() });
    this.node.ariaLabel = t("journal");
    this.node.addEventListener("keydown", (event) => { if (event.key === "Escape") this.toggle(); });
    const only = el("label.check", null, this.only, t("refusals_only"));
    this.node.append(
      el("header", null, el("h2", null, t("journal")), this.search, only, el("span.space"),
        round("close", t("close"), () => this.toggle())),
      this.rows, el("p.empty", null, t("no_calls")));
  }

  async load() {
    this.rows.replaceChildren();
    this.last = 0;
    for (const entry of (await api("journal")).slice(-KEPT)) this.add(entry);
  }

  toggle() {
    this.node.hidden = !this.node.hidden;
    document.body.classList.toggle("with-journal", !this.node.hidden);
    this.refusals = 0;
    this.onRefusals(0);
    if (this.node.hidden) document.querySelector("[data-role=journal]").focus();
    else this.search.focus();
    this.rows.scrollTop = this.rows.scrollHeight;
  }

  receive(entry) {
    if (!entry.ok && this.node.hidden) this.onRefusals(this.refusals += 1);
    this.add(entry);
  }

  add(entry) {
    if (entry.n <= this.last) return;
    this.last = entry.n;
    const atEnd = this.rows.scrollHeight - this.rows.scrollTop - this.rows.clientHeight < 40;
    const row = this.row(entry);
    row.hidden = !this.fits(row);
    this.rows.append(row);
    while (this.rows.children.length > KEPT) this.rows.firstChild.remove();
    if (atEnd) this.rows.scrollTop = this.rows.scrollHeight;
  }

  row({ n, at, method, params, status, ok, description, ms }) {
    const detail = JSON.stringify(params ?? {});
    const whole = [description, JSON.stringify(params ?? {}, null, 2)].filter(Boolean).join("\n");
    const took = ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`;
    const row = el(`details.row${ok ? "" : ".refused"}`, { "data-entry": n, part: "journal-entry" },
      el("summary", null, el("time", null, this.clock.format(new Date(at * 1000))),
        el("b.status", null, status), el("span.method", null, method), said("span.words", description ?? detail), el("span.ms", null, took)),
      said("pre", whole));
    row.words = `${method} ${status} ${description ?? ""} ${detail}`.toLowerCase();
    return row;
  }

  fits(row) {
    return row.words.includes(this.search.value.trim().toLowerCase()) && (!this.only.checked || row.matches(".refused"));
  }

  filter() {
    for (const row of this.rows.children) row.hidden = !this.fits(row);
  }
}
