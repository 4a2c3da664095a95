"""The providers that the settings name."""

from collections.abc import Mapping

from bot.paying.alipay import Alipay
from bot.paying.provider import Opening, Provider
from bot.paying.signed_notices import SignedNotices
from bot.paying.stripe import Stripe
from bot.paying.wechat import WeChatPay
from bot.settings import Settings


def load_providers(settings: Settings) -> tuple[Mapping[str, Provider], Mapping[str, Opening]]:
    """Return the providers that may report payments, and those that have a page to pay on."""
    reporting: list[Provider] = []
    opening: list[Opening] = []
    if secret := settings.payment_provider_secret.get_secret_value():
        own = SignedNotices(address=settings.payment_provider_url, secret=secret)
        reporting.append(own)
        opening += [own] * bool(settings.payment_provider_url)
    if secret := settings.stripe_webhook_secret.get_secret_value():
        key = settings.stripe_api_key.get_secret_value()
        stripe = Stripe(webhook_secret=secret, api_key=key, api_base=settings.stripe_api_base)
        reporting.append(stripe)
        opening += [stripe] * bool(key)
    if settings.alipay_public_key:
        reporting.append(
            Alipay(app_id=settings.alipay_app_id, public_key=settings.alipay_public_key)
        )
    if settings.wechat_public_key:
        reporting.append(
            WeChatPay(
                merchant_id=settings.wechat_merchant_id,
                public_key=settings.wechat_public_key,
                key_id=settings.wechat_public_key_id,
                api_key=settings.wechat_api_key.get_secret_value(),
            )
        )
    return {each.name: each for each in reporting}, {each.name: each for each in opening}
