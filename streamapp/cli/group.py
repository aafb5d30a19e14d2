"""What was probably meant by a mistyped command or word of a list; groups list their commands with whole sentences."""

from __future__ import annotations

from difflib import get_close_matches

import click


class Choice(click.Choice[str]):
    """One word of a list. A mistyped one is told which were probably meant."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        """The same as click's, which lists all, or the nearest."""
        near = get_close_matches(str(value), list(self.choices))
        return (
            f"{value!r}: did you mean {' or '.join(near)}?" if near else super().get_invalid_choice_message(value, ctx)
        )


class Group(click.Group):
    """Every group of `streamapp` is one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The same as click's; for an unknown command it proposes the one that was probably meant."""
        near = get_close_matches(args[0], self.list_commands(ctx), n=1)
        if near and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}: did you mean {near[0]}?")
        return super().resolve_command(ctx, args)

    def lines(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Each command's name and one sentence about it, whole: the help wraps it."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        return [(name, one.get_short_help_str(limit=1_000)) for name, one in found if one is not None]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, with nothing cut."""
        with formatter.section("Commands"):
            formatter.write_dl(self.lines(ctx))
