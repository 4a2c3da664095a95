from pathlib import Path

import pytest

from bot.settings import Settings, example


def test_example_lists_every_setting_with_its_default() -> None:
    shown = (Path(__file__).parent.parent / ".env.example").read_text(encoding="utf-8")

    assert shown == example()


def test_roles_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUIDIAN_ROLES", "web, worker")

    assert Settings(_env_file=None).roles == {"web", "worker"}


def test_secrets_do_not_show() -> None:
    assert "12345:abc" not in repr(Settings(_env_file=None, telegram_token="12345:abc"))  # noqa: S106 (made up)


def test_child_gets_exactly_these_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHUIDIAN_PUBLIC_URL", "https://real.example")
    given = Settings(_env_file=None, public_url="", telegram_token="1:a", roles="web")  # noqa: S106 (made up)
    for name, value in given.as_environment().items():
        monkeypatch.setenv(name, value)

    assert Settings(_env_file=None) == given
