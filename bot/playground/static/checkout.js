// The payment sheet: what is owed, the ten seconds of the bot, and what came of it.
import { cover, el, icon, round, said } from "./dom.js";
import { money, t } from "./words.js";

const PATIENCE = 10; // seconds Telegram gives a bot to answer

export class Checkout {
  constructor(phone, message, query) {
    this.phone = phone;
    this.message = message;
    this.query = query;
    const { title, description, total_amount: total, currency } = message.invoice;
    this.total = money(total, currency);
    this.status = el("div.sheet-status", { role: "status", part: "sheet-status" });
    this.keys = el("div.sheet-keys");
    const line = ({ label, amount }) => el("div", null, said("dt", label), el("dd", null, money(amount, currency)));
    this.node = el("section.sheet", { role: "dialog", ariaModal: "true", ariaLabel: title, part: "sheet" },
      el("header", null, said("h2", title), round("close", t("close"), () => this.leave())), said("p", description),
      el("dl", null, (message.prices ?? []).map(line), el("div.sum", null, el("dt", null, t("total")), el("dd", null, this.total))),
      this.status, this.keys, el("small", null, t("not_real")));
    this.close = cover(phone.node, this.node, () => this.leave());
    this.show("open");
  }

  /** Follow what the server tells of this payment. */
  show(state, words) {
    if (this.state === "left") return;
    this.state = state;
    clearInterval(this.ticking);
    this.status.dataset.state = state;
    const news = {
      refused: () => [el("b", null, t("refused")), said("span", words ?? "")],
      expired: () => [t("expired")], declined: () => [t("declined")], paid: () => [icon("tick"), t("thanks")],
    };
    if (state === "asked") this.countDown();
    else this.status.replaceChildren(...(news[state]?.() ?? []));
    this.showKeys(state);
    if (state === "paid") setTimeout(() => this.leave(), 2500);
    if (state === "closed") this.leave();
  }

  showKeys(state) {
    const again = ["open", "refused", "expired", "declined"].includes(state);
    const close = el("button.quiet", { part: "sheet-close", onclick: () => this.leave() }, t("close"));
    this.keys.replaceChildren(...(again ? [
      el("button.primary", { part: "sheet-pay", onclick: () => this.ask("pay") }, t("pay", { total: this.total })),
      el("button.warm-key", { part: "sheet-decline", onclick: () => this.ask("decline") }, t("decline")), close] : [close]));
    if (this.node.contains(document.activeElement) || document.activeElement === document.body) this.keys.firstChild.focus();
  }

  countDown() {
    const until = Date.now() + PATIENCE * 1000;
    const number = el("b");
    const ring = el("span.ring", { role: "timer", part: "sheet-clock" }, number);
    const tick = () => {
      const left = Math.max(0, until - Date.now());
      number.textContent = Math.ceil(left / 1000);
      ring.style.setProperty("--left", left / (PATIENCE * 1000));
    };
    tick();
    this.ticking = setInterval(tick, 100);
    this.status.replaceChildren(ring, el("span", null, t("asking")));
  }

  async ask(action) {
    this.show("asked");
    const answer = await this.phone.act("checkout", { query_id: this.query, message_id: this.message.message_id, action });
    if (this.state !== "asked") return; // the event came first
    this.show(answer?.state ?? "open", answer?.error_message);
  }

  leave() {
    if (this.state === "left") return;
    const unfinished = !["paid", "closed"].includes(this.state);
    clearInterval(this.ticking);
    this.state = "left";
    this.close();
    this.phone.checkout = null;
    if (unfinished) this.phone.act("checkout", { query_id: this.query, message_id: this.message.message_id, action: "close" });
  }
}
