"""Bills and receipts as they come, in the four languages."""

from datetime import date
from decimal import Decimal

from bot.documents.charts import Bar, Service
from bot.documents.documents import (
    BillDocument,
    ChargeRow,
    CoveredBill,
    Field,
    ReadingRow,
    ReceiptDocument,
)

LANGUAGES = ("zh_CN", "zh_TW", "en", "ru")
SERVICES: tuple[Service, ...] = ("water", "electricity")

USED: dict[Service, tuple[str | None, ...]] = {
    "water": ("24", "21", "19", "22", "18", None, "20", "21", "23", "25", "28", "30", "26"),
    "electricity": (
        "287", "214", "198", "265", "341", "352", "260", "201", "190", "243", "398", "431", "312",
    ),
}  # fmt: skip

# component, tier, quantity, price, amount
CHARGES: dict[Service, tuple[tuple[int, int, str, str, str], ...]] = {
    "water": (
        (0, 0, "22", "2.67", "58.74"),
        (0, 1, "4", "4.01", "16.04"),
        (1, 0, "22", "0.90", "19.80"),
        (1, 1, "4", "1.00", "4.00"),
        (2, 2, "26", "0.59", "15.34"),
    ),
    "electricity": ((0, 0, "260", "0.66286875", "172.35"), (0, 1, "52", "0.71286875", "37.07")),
}
SUMS: dict[Service, tuple[str, ...]] = {
    "water": ("113.92", "84.40", "-64.40", "133.92"),
    "electricity": ("209.42", "0.00", "0.00", "209.42"),
}

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "zh_CN": {
        "services": ("自来水", "电力"),
        "titles": ("水费账单", "电费账单", "收费凭证"),
        "operator": ("清河物业水电服务中心", "服务热线 400-820-1234", "每日 8:00–20:00"),
        "units": ("m³", "kWh"),
        "parties": ("户主", "欧阳骉", "户号", "0086-113-204471", "用水地址", "合肥市庐阳区清河路 88 号 3 幢 2 单元 1102 室"),
        "supply": ("表号", "计费周期", "2026年9月1日至9月30日"),
        "numbers": ("账单编号", "开具日期", "2026年10月1日", "收据编号", "2026年10月9日"),
        "due": ("应缴金额", "缴费截止", "2026年10月20日"),
        "readings": ("抄表与用量", "上期读数", "2026年8月31日", "远程抄表", "本期读数", "2026年9月30日", "住户自报", "本期用量"),
        "charges": ("费用明细", "项目", "阶梯", "用量", "单价", "金额"),
        "water": ("基本水费", "污水处理费", "垃圾处理费"),
        "electricity": ("居民电费",),
        "tiers": ("第一阶梯（22 m³ 以内）", "第二阶梯（22–30 m³）", "全部用量"),
        "tiers_electricity": ("第一阶梯（260 kWh 以内）", "第二阶梯（261–600 kWh）"),
        "sums": ("本期费用合计", "上期结余欠费", "已收款项", "应缴总额"),
        "pay": ("如何缴费", "在聊天中打开本账单，点“缴费”。", "用手机扫描右侧二维码。", "到服务中心柜台：清河路 86 号，报户号即可。", "扫码缴费"),
        "usage": ("近 13 个月用量", "本期用量 {used}，比上月少，比去年同月多。最高为 2026 年 8 月的 {top}。"),
        "months": ("{}月",),
        "notes": ("上期读数为估算，本期已按实际读数多退少补。", "金额已含增值税。对账单有疑问？请在截止日前直接回复“申诉”，处理期间不催缴。"),
        "receipt": ("实收金额", "部分付款，尚欠 {}", "已全部结清", "付款方式", "微信支付", "收款时间", "2026年10月9日 14:32", "交易号"),
        "covers": ("本次付款冲抵", "账单编号", "周期", "本次付款", "尚欠", "2026年8月", "2026年9月", "本次付款合计", "尚欠合计"),
        "receipt_notes": ("此凭证不作为增值税发票。", "如需发票，请在聊天中回复“发票”。"),
        "money": ("¥{}",),
    },
    "zh_TW": {
        "services": ("自來水", "電力"),
        "titles": ("水費帳單", "電費帳單", "繳費收據"),
        "operator": ("清河社區水電服務中心", "服務專線 0800-211-123", "每日 8:00–20:00"),
        "units": ("m³", "kWh"),
        "parties": ("戶名", "歐陽䶮", "用戶編號", "0086-113-204471", "用水地址", "臺北市大安區羅斯福路四段 88 號 11 樓之 2"),
        "supply": ("水錶號碼", "計費期間", "2026年9月1日至9月30日"),
        "numbers": ("帳單號碼", "開立日期", "2026年10月1日", "收據號碼", "2026年10月9日"),
        "due": ("應繳金額", "繳費期限", "2026年10月20日"),
        "readings": ("抄表與用量", "上期指數", "2026年8月31日", "遠端抄表", "本期指數", "2026年9月30日", "用戶自報", "本期用量"),
        "charges": ("費用明細", "項目", "級距", "用量", "單價", "金額"),
        "water": ("基本水費", "污水處理費", "垃圾清理費"),
        "electricity": ("住宅電費",),
        "tiers": ("第一級（22 m³ 以內）", "第二級（22–30 m³）", "全部用量"),
        "tiers_electricity": ("第一級（260 kWh 以內）", "第二級（261–600 kWh）"),
        "sums": ("本期費用合計", "前期未繳", "已收款項", "應繳總額"),
        "pay": ("如何繳費", "在聊天中開啟本帳單，點選「繳費」。", "以手機掃描右側條碼。", "至服務中心櫃檯：告知用戶編號即可。", "掃碼繳費"),
        "usage": ("近 13 個月用量", "本期用量 {used}，較上月減少，較去年同月增加。最高為 2026 年 8 月的 {top}。"),
        "months": ("{}月",),
        "notes": ("上期指數為推估，本期已依實際指數多退少補。", "金額已含營業稅。對帳單有疑問？請於期限前回覆「申訴」，處理期間不催繳。"),
        "receipt": ("實收金額", "部分繳款，尚欠 {}", "已全部繳清", "繳款方式", "行動支付", "收款時間", "2026年10月9日 14:32", "交易編號"),
        "covers": ("本次繳款沖抵", "帳單號碼", "期間", "本次繳款", "尚欠", "2026年8月", "2026年9月", "本次繳款合計", "尚欠合計"),
        "receipt_notes": ("本收據不作為統一發票。",),
        "money": ("NT$ {}",),
    },
    "en": {
        "services": ("Water", "Electricity"),
        "titles": ("Water bill", "Electricity bill", "Receipt"),
        "operator": ("Clearwater Estates Utilities", "Hotline +44 20 7946 0123", "every day 8 am to 8 pm"),
        "units": ("m³", "kWh"),
        "parties": ("Account holder", "Siobhán O’Connor-Nguyễn", "Account number", "0086-113-204471", "Address", "Flat 1102, Building 3, 88 Clear River Road, Luyang District, Hefei 230001"),
        "supply": ("Meter", "Billing period", "1 to 30 September 2026"),
        "numbers": ("Bill number", "Issued on", "1 October 2026", "Receipt number", "9 October 2026"),
        "due": ("Amount due", "Please pay by", "20 October 2026"),
        "readings": ("Meter readings", "Previous reading", "31 Aug 2026", "read remotely", "Present reading", "30 Sep 2026", "sent by you", "Used"),
        "charges": ("How the amount is made up", "Charge", "Tier", "Quantity", "Price", "Amount"),
        "water": ("Water supply", "Sewage treatment", "Refuse collection"),
        "electricity": ("Household electricity",),
        "tiers": ("Tier 1, up to 22 m³", "Tier 2, 22 to 30 m³", "All of it"),
        "tiers_electricity": ("Tier 1, up to 260 kWh", "Tier 2, 261 to 600 kWh"),
        "sums": ("This period", "Balance from before", "Payments received", "Total due"),
        "pay": ("How to pay", "Open this bill in the chat and press “Pay”.", "Or scan the code with your phone.", "Or at the service desk, 86 Clear River Road: your account number is enough.", "Scan to pay"),
        "usage": ("Your last 13 months", "You used {used}: less than the month before, more than in September last year. The highest was August 2026 with {top}."),
        "months": ("{}",),
        "notes": ("The previous reading was estimated; this bill puts it right with the real one.", "Amounts include VAT. Something looks wrong? Answer “dispute” before the date above, and no reminders are sent while we look at it."),
        "receipt": ("Amount received", "Part payment: {} remains", "Paid in full", "Method", "Bank transfer", "Received", "9 October 2026, 14:32", "Reference"),
        "covers": ("What this payment covers", "Bill", "Period", "Paid now", "Remaining", "August 2026", "September 2026", "Paid now", "Still to pay"),
        "receipt_notes": ("Keep this receipt. It is not a tax invoice.",),
        "money": ("CN¥{}",),
    },
    "ru": {
        "services": ("Вода", "Электричество"),
        "titles": ("Счёт за воду", "Счёт за электроэнергию", "Квитанция об оплате"),
        "operator": ("Служба водо- и электроснабжения «Чистая река»", "Горячая линия 8 800 555-01-23", "ежедневно с 8:00 до 20:00"),
        "units": ("м³", "кВт⋅ч"),
        "parties": ("Плательщик", "Святославская-Преображенская Елизавета Владимировна", "Лицевой счёт", "0086-113-204471", "Адрес", "ул. Чистореченская, д. 88, корп. 3, подъезд 2, кв. 1102"),
        "supply": ("Счётчик", "Период", "1–30 сентября 2026 г."),
        "numbers": ("Номер счёта", "Дата", "1 октября 2026 г.", "Номер квитанции", "9 октября 2026 г."),
        "due": ("К оплате", "Оплатить до", "20 октября 2026 г."),
        "readings": ("Показания счётчика", "Предыдущее показание", "31.08.2026", "дистанционно", "Текущее показание", "30.09.2026", "передано вами", "Расход"),
        "charges": ("Из чего складывается сумма", "Услуга", "Ступень", "Объём", "Тариф", "Сумма"),
        "water": ("Холодное водоснабжение", "Водоотведение и очистка стоков", "Вывоз отходов"),
        "electricity": ("Электроснабжение населения",),
        "tiers": ("1-я ступень, до 22 м³", "2-я ступень, 22–30 м³", "Весь объём"),
        "tiers_electricity": ("1-я ступень, до 260 кВт⋅ч", "2-я ступень, 261–600 кВт⋅ч"),
        "sums": ("Начислено за период", "Остаток с прошлого периода", "Поступившие платежи", "Итого к оплате"),
        "pay": ("Как оплатить", "Откройте этот счёт в чате и нажмите «Оплатить».", "Или наведите камеру телефона на код.", "Или в кассе, ул. Чистореченская, 86: назовите лицевой счёт.", "Оплата по коду"),
        "usage": ("Последние 13 месяцев", "Вы израсходовали {used}: меньше, чем месяцем раньше, и больше, чем в сентябре прошлого года. Больше всего было в августе 2026 года: {top}."),
        "months": ("{}",),
        "notes": ("Предыдущее показание было расчётным; в этом счёте оно исправлено по действительному.", "Суммы указаны с НДС. Не согласны? Ответьте «спор» до указанного дня: пока мы разбираемся, напоминаний не будет."),
        "receipt": ("Получено", "Частичная оплата, осталось {}", "Оплачено полностью", "Способ", "Банковский перевод", "Получено", "9 октября 2026 г., 14:32", "Номер операции"),
        "covers": ("На что пошёл платёж", "Счёт", "Период", "Оплачено", "Осталось", "август 2026", "сентябрь 2026", "Оплачено сейчас", "Осталось оплатить"),
        "receipt_notes": ("Сохраните квитанцию.",),
        "money": ("{} ₽",),
    },
}  # fmt: skip

MONTHS = {
    "en": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(),
    "ru": "янв. февр. март апр. май июнь июль авг. сент. окт. нояб. дек.".split(),
}


def number(language: str, value: str) -> str:
    """Return a number as the language writes it."""
    shown = value.replace("-", "−")
    return shown.replace(".", ",") if language == "ru" else shown


def money(language: str, value: str) -> str:
    """Return an amount of money as the language writes it."""
    sign = "−" if value.startswith("-") else ""
    return sign + WORDS[language]["money"][0].format(number(language, value.removeprefix("-")))


def usage_bars(language: str, service: Service) -> tuple[Bar, ...]:
    """Return thirteen months of use."""
    words = WORDS[language]
    bars = []
    for index, used in enumerate(USED[service]):
        month = (8 + index) % 12
        names = MONTHS.get(language)
        bars.append(
            Bar(
                label=names[month] if names else words["months"][0].format(month + 1),
                value=None if used is None else Decimal(used),
                text="–" if used is None else number(language, used),
                group={0: "2025", 4: "2026"}.get(index, ""),
                is_estimated=index == 11,
            )
        )
    return tuple(bars)


def bill(language: str, service: Service) -> BillDocument:
    """Return a bill of an ordinary household."""
    words = WORDS[language]
    at = SERVICES.index(service)
    unit = words["units"][at]

    def quantity(value: str) -> str:
        return f"{number(language, value)}\u00a0{unit}"

    used, top = USED[service][-1] or "", USED[service][-2] or ""
    tiers = words["tiers" if service == "water" else "tiers_electricity"]
    parties, readings, charges, pay = (words[k] for k in ("parties", "readings", "charges", "pay"))
    before, after = ("1482", "1508") if service == "water" else ("20417", "20729")
    return BillDocument(
        language=language,
        service=service,
        service_name=words["services"][at],
        operator=words["operator"][0],
        contacts=words["operator"][1:],
        title=words["titles"][at],
        number=Field(label=words["numbers"][0], value="WE"[at] + "-2026-09-004711"),
        issued=Field(label=words["numbers"][1], value=words["numbers"][2]),
        issued_on=date(2026, 10, 1),
        parties=tuple(Field(label=parties[i], value=parties[i + 1]) for i in (0, 2, 4)),
        notes=words["notes"],
        amount_due=Field(label=words["due"][0], value=money(language, SUMS[service][-1])),
        due_date=Field(label=words["due"][1], value=words["due"][2]),
        supply=(
            Field(label=words["supply"][0], value="SC-2041-77309"),
            Field(label=words["supply"][1], value=words["supply"][2]),
        ),
        readings_title=readings[0],
        readings=(
            ReadingRow(
                label=readings[1], read_on=readings[2], source=readings[3], value=quantity(before)
            ),
            ReadingRow(
                label=readings[4], read_on=readings[5], source=readings[6], value=quantity(after)
            ),
        ),
        consumption=Field(label=readings[7], value=quantity(used)),
        charges_title=charges[0],
        charge_headings=ChargeRow(
            component=charges[1],
            tier=charges[2],
            quantity=charges[3],
            price=charges[4],
            amount=charges[5],
        ),
        charges=tuple(
            ChargeRow(
                component=words[service][component],
                tier=tiers[tier],
                quantity=quantity(amount_used),
                price=number(language, price),
                amount=number(language, amount),
            )
            for component, tier, amount_used, price, amount in CHARGES[service]
        ),
        sums=tuple(
            Field(label=label, value=money(language, amount))
            for label, amount in zip(words["sums"], SUMS[service], strict=True)
        ),
        payment_title=pay[0],
        payment_steps=pay[1:-1],
        qr_content=f"https://pay.example.org/b/{'WE'[at]}-2026-09-004711?s=9f3c1a77",
        qr_caption=pay[-1],
        usage_title=f"{words['usage'][0]} ({unit})",
        usage=usage_bars(language, service),
        usage_sentence=words["usage"][1].format(used=quantity(used), top=quantity(top)),
    )


def receipt(language: str, service: Service, *, is_settled: bool) -> ReceiptDocument:
    """Return the receipt of a payment for two bills, the later one paid in part or in full."""
    words = WORDS[language]
    at = SERVICES.index(service)
    paid, covers, parties = words["receipt"], words["covers"], words["parties"]
    left = "0.00" if is_settled else "53.92"
    total = "133.92" if is_settled else "80.00"
    return ReceiptDocument(
        language=language,
        service=service,
        service_name=words["services"][at],
        operator=words["operator"][0],
        contacts=words["operator"][1:],
        title=words["titles"][2],
        number=Field(label=words["numbers"][3], value="R-2026-000815"),
        issued=Field(label=words["numbers"][1], value=words["numbers"][4]),
        issued_on=date(2026, 10, 9),
        parties=tuple(Field(label=parties[i], value=parties[i + 1]) for i in (0, 2, 4)),
        notes=words["receipt_notes"],
        amount_paid=Field(label=paid[0], value=money(language, total)),
        status=paid[2] if is_settled else paid[1].format(money(language, left)),
        is_settled=is_settled,
        payment=(
            Field(label=paid[3], value=paid[4]),
            Field(label=paid[5], value=paid[6]),
            Field(label=paid[7], value="4200002671202610098123456789"),
        ),
        covers_title=covers[0],
        cover_headings=CoveredBill(
            number=covers[1], period=covers[2], paid=covers[3], remaining=covers[4]
        ),
        covers=(
            CoveredBill(
                number="WE"[at] + "-2026-08-004263",
                period=covers[5],
                paid=money(language, "20.00"),
                remaining=money(language, "0.00"),
            ),
            CoveredBill(
                number="WE"[at] + "-2026-09-004711",
                period=covers[6],
                paid=money(language, str(Decimal(total) - 20)),
                remaining=money(language, left),
            ),
        ),
        sums=(
            Field(label=covers[7], value=money(language, total)),
            Field(label=covers[8], value=money(language, left)),
        ),
    )
