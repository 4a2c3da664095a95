// The page's own words. What the bot says is never translated here.
const dictionary = {
  en: {
    tagline: "Local playground, not Telegram. Nothing leaves this computer.",
    playground: "Playground", add_person: "Add person", faults: "Faults", journal: "Journal", reset: "Reset",
    reset_ask: "Forget all chats and messages?", reset_done: "All chats forgotten", other_language: "中文",
    reconnecting: "Connection lost, trying again…", people: "People",
    first_name: "First name", last_name: "Last name", username: "User name", phone: "Phone", note: "Note",
    language: "Language", no_language: "Not told", ok: "OK", cancel: "Cancel", save: "Save", close: "Close",
    block: "Block the bot", unblock: "Unblock the bot", blocked: "You blocked this bot.", more: "More",
    edit_person: "Edit this person", transcript: "Download transcript", deep_link: "Open by a link…",
    payload: "Start parameter", start: "Start", chat_of: "Chat of {name}", commands: "Commands",
    no_commands: "The bot lists no commands", attach: "Attach", photo: "Photo", document: "Document",
    contact: "My contact", contact_of: "Contact of {name}", place: "Place", latitude: "Latitude",
    longitude: "Longitude",
    write: "Message", send: "Send", keys: "Show or hide the keys", new_messages: "{count} new",
    to_bottom: "To the newest message",
    message_menu: "Message actions", reply: "Reply", edit: "Edit", copy: "Copy text", copied: "Copied",
    press_data: "Press with other data…", data: "Callback data", editing: "Editing",
    cancel_reply: "Do not reply or edit",
    edited: "edited", today: "Today", yesterday: "Yesterday", spoiler: "Hidden text", expand: "Show all of the quote",
    enlarge: "Enlarge the photo", voice: "Voice message", video: "Video",
    unsupported: "A kind of message this page does not show",
    share_contact: "Share your phone number with the bot?", share: "Share",
    not_here: "This key does nothing in the playground",
    typing: "writing…", upload_photo: "sending a photo…", upload_document: "sending a document…",
    find_location: "looking for the place…",
    invoice: "Invoice", paid: "Paid", paid_line: "Paid {total}", total: "Total", pay: "Pay {total}",
    decline: "The bank declines",
    asking: "Asking the bot. It has ten seconds.", refused: "The bot refused this payment",
    expired: "The bot gave no answer in ten seconds. The payment is cancelled.",
    declined: "The bank declined. Nothing was paid.", thanks: "Payment made",
    not_real: "Play money. No bank is asked.",
    running: "×{rate}", paused: "paused", clock: "Clock of the demo",
    faults_hint: "Trouble for the bot's next calls.", seconds: "Seconds", count: "Times", method: "Only method",
    any: "any", clear_faults: "Clear all faults",
    fault_429: "Too many requests", fault_5xx: "Server error", fault_lost: "Answer lost", fault_slow: "Slow answers",
    fault_expired_press: "Expired press", fault_redeliver: "Deliver again", fault_webhook_down: "Webhook down",
    about_429: "429 with retry_after", about_5xx: "502 Bad Gateway",
    about_lost: "the call is done, its answer never comes",
    about_slow: "every answer takes some seconds", about_expired_press: "answers to presses come too late",
    about_redeliver: "the last updates come a second time", about_webhook_down: "updates cannot be delivered",
    filter: "Filter by method or words", refusals_only: "Refusals only", no_calls: "No calls yet",
  },
  zh: {
    tagline: "本机试用场，并非 Telegram，消息不会离开这台电脑。",
    playground: "试用场", add_person: "添加人员", faults: "故障", journal: "日志", reset: "重置",
    reset_ask: "清除全部聊天和消息？", reset_done: "已清除全部聊天", other_language: "English",
    reconnecting: "连接中断，正在重试…", people: "人员",
    first_name: "名", last_name: "姓", username: "用户名", phone: "电话", note: "备注",
    language: "语言", no_language: "未提供", ok: "好", cancel: "取消", save: "保存", close: "关闭",
    block: "屏蔽机器人", unblock: "解除屏蔽", blocked: "您已屏蔽此机器人。", more: "更多",
    edit_person: "编辑此人", transcript: "下载聊天记录", deep_link: "通过链接打开…",
    payload: "启动参数", start: "开始", chat_of: "{name} 的聊天", commands: "命令",
    no_commands: "机器人没有列出命令", attach: "附件", photo: "照片", document: "文件",
    contact: "我的名片", contact_of: "{name} 的名片", place: "位置", latitude: "纬度", longitude: "经度",
    write: "输入消息", send: "发送", keys: "显示或隐藏按键", new_messages: "{count} 条新消息", to_bottom: "回到最新消息",
    message_menu: "消息操作", reply: "回复", edit: "编辑", copy: "复制文字", copied: "已复制",
    press_data: "用其他数据按键…", data: "回调数据", editing: "正在编辑", cancel_reply: "取消回复或编辑",
    edited: "已编辑", today: "今天", yesterday: "昨天", spoiler: "隐藏文字", expand: "展开引用",
    enlarge: "放大照片", voice: "语音消息", video: "视频", unsupported: "本页面无法显示这种消息",
    share_contact: "把您的电话号码发给机器人？", share: "发送", not_here: "此按键在试用场中不起作用",
    typing: "正在输入…", upload_photo: "正在发送照片…", upload_document: "正在发送文件…", find_location: "正在查找位置…",
    invoice: "账单", paid: "已支付", paid_line: "已支付 {total}", total: "合计", pay: "支付 {total}", decline: "银行拒付",
    asking: "正在询问机器人，限时十秒。", refused: "机器人拒绝了这笔付款", expired: "机器人十秒内没有答复，付款已取消。",
    declined: "银行拒付，没有扣款。", thanks: "付款成功", not_real: "模拟付款，不涉及任何银行。",
    running: "×{rate}", paused: "已暂停", clock: "演示时钟",
    faults_hint: "给机器人接下来的调用制造麻烦。", seconds: "秒数", count: "次数", method: "仅限方法", any: "任意", clear_faults: "清除全部故障",
    fault_429: "请求过多", fault_5xx: "服务器错误", fault_lost: "答复丢失", fault_slow: "答复缓慢",
    fault_expired_press: "按键过期", fault_redeliver: "重复投递", fault_webhook_down: "Webhook 中断",
    about_429: "返回 429 和 retry_after", about_5xx: "返回 502 Bad Gateway", about_lost: "调用已执行，答复却没有送达",
    about_slow: "每次答复都要等几秒", about_expired_press: "对按键的答复来得太迟",
    about_redeliver: "最近的更新再送一次", about_webhook_down: "更新无法送达",
    filter: "按方法或文字筛选", refusals_only: "只看被拒绝的", no_calls: "还没有调用",
  },
};

const chosen = localStorage.getItem("playground-language") ?? navigator.language;
export const language = chosen.toLowerCase().startsWith("zh") ? "zh" : "en";
export const locale = navigator.language.startsWith(language) ? navigator.language : { en: "en-GB", zh: "zh-CN" }[language];
export const languages = dictionary;

/** The page's sentence for a key, with {values} filled in. */
export function t(key, values = {}) {
  return dictionary[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Remember the other language and draw the page again: all state lives on the server. */
export function switchLanguage() {
  localStorage.setItem("playground-language", language === "zh" ? "en" : "zh");
  location.reload();
}

/** Money in Telegram's smallest units as the reader's locale writes it. */
export function money(amount, currency) {
  if (currency === "XTR") return `⭐ ${amount}`;
  const format = new Intl.NumberFormat(locale, { style: "currency", currency, currencyDisplay: "narrowSymbol" });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

const clockTime = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const fullDay = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" });

export const timeOf = (seconds) => clockTime.format(new Date(seconds * 1000));

export function dayOf(seconds) {
  const day = new Date(seconds * 1000).toDateString();
  if (day === new Date().toDateString()) return t("today");
  if (day === new Date(Date.now() - 864e5).toDateString()) return t("yesterday");
  return fullDay.format(new Date(seconds * 1000));
}
