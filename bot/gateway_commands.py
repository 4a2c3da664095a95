"""`shuidian gateway …`: the profiles there are, and what one would read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.import_commands import refuse, shell_texts

if TYPE_CHECKING:
    from bot.gateway.profile import Profile

# Imports stand inside the commands, so that `--help` does not wait for all of the service.
# ruff: noqa: PLC0415

gateway_app = typer.Typer(
    help="Gateways: the profiles of makers, and trying one on a sample.", no_args_is_help=True
)


def find_profile(name: str) -> "Profile":
    """Return a profile by its name or its file, or end with what is wrong with it."""
    from bot.gateway.profile import WrongProfile, load_profiles, read_profile
    from bot.settings import Settings

    settings = Settings()
    try:
        if name.endswith(".toml"):
            return read_profile(Path(name), timezone=settings.timezone)
        profiles = load_profiles(settings.profiles_dir, timezone=settings.timezone)
    except WrongProfile as wrong:
        raise refuse(str(wrong)) from None
    if name not in profiles:
        raise typer.BadParameter(f"there is no profile {name}; there are: {', '.join(profiles)}")
    return profiles[name]


@gateway_app.command("profiles")
def list_profiles() -> None:
    """List the profiles: shipped ones, and those in SHUIDIAN_PROFILES_DIR."""
    from bot.gateway.profile import WrongProfile, load_profiles
    from bot.settings import Settings

    settings = Settings()
    try:
        profiles = load_profiles(settings.profiles_dir, timezone=settings.timezone)
    except WrongProfile as wrong:
        raise refuse(str(wrong)) from None
    for profile in profiles.values():
        topics = ", ".join(sorted(profile.subscriptions)) or "POST /api/v1/push/" + profile.name
        typer.echo(f"{profile.name:16} {profile.title:20} {topics}")


@gateway_app.command("check")
def check_profile(
    profile: Annotated[str, typer.Argument(help="A profile's name, or its file NAME.toml.")],
    sample: Annotated[
        Path,
        typer.Option(
            help="Messages, one a line: topic and payload as `mosquitto_sub -v` prints them;"
            " for HTTP or with --topic the payload alone.",
            exists=True,
            dir_okay=False,
        ),
    ],
    topic: Annotated[str, typer.Option(help="The topic of lines that have only a payload.")] = "",
) -> None:
    """Print what would be read from each message of a sample, or why nothing."""
    from bot.clock import SystemClock
    from bot.gateway.decode import Refusal, decode

    found, texts, content = find_profile(profile), shell_texts(), sample.read_bytes()
    if not content.strip():
        raise refuse(texts.plain("refused.empty_sample", file=sample.name))
    is_read = False
    typer.echo(texts.plain("cli.units"))
    has_topics = found.transport == "mqtt" and not topic
    for heading, payload in _messages(content, has_topics=has_topics):
        answer = decode(found, heading or topic, payload, received_at=SystemClock().now())
        typer.echo(f"{heading or topic} {payload.decode(errors='replace'):.60}".strip())
        if isinstance(answer, Refusal):
            typer.echo(f"    {texts.plain(f'refused.{answer.code}')}")
            continue
        is_read = True
        for each in answer:
            labels = " ".join(f"{name}={text}" for name, text in each.labels if name != "channel")
            parts = (each.address, labels, each.what, each.register, each.value)
            shown = " ".join(str(part) for part in parts if str(part))
            typer.echo(f"    {shown} at {each.taken_at.isoformat()}")
    if not is_read:
        raise refuse(texts.plain("refused.whole_sample", profile=found.name, file=sample.name))


def _messages(content: bytes, *, has_topics: bool) -> Iterator[tuple[str, bytes]]:
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if not has_topics and len(lines) > 1 and _is_json(content):
        lines = [content.strip()]
    for line in lines:
        heading, _, payload = line.partition(b" ") if has_topics else (b"", b"", line)
        yield heading.decode(errors="replace"), payload


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
