"""cli.parsing: what flags take."""

import argparse

import pytest

from tfstyle.cli import parsing


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--style=~/a.jpg", "--style=/home/me/a.jpg"),
        ("--content=~/a,~/b", "--content=/home/me/a,/home/me/b"),
        ("a.jpg:1:~/m.png", "a.jpg:1:/home/me/m.png"),
        ("--style=~/a.jpg::~/m.png", "--style=/home/me/a.jpg::/home/me/m.png"),
        ("--output=~", "--output=/home/me"),
        ("--style=~nobody.of.this.name/a.jpg", "--style=~nobody.of.this.name/a.jpg"),
        ("--title=about ~/x", "--title=about ~/x"),
        ("--style=a~/b.jpg", "--style=a~/b.jpg"),
        ("--style=a.jpg~", "--style=a.jpg~"),
        ("./~/a.jpg", "./~/a.jpg"),
        ("https://host/~me/", "https://host/~me/"),
    ],
)
def test_home_folders_are_found_where_the_shell_leaves_them(argument, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert parsing.with_homes(argument) == expected
    assert parsing.with_homes(expected) == expected


def test_every_parser_finds_them(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    parser = parsing.Parser("x")
    commands = parser.add_subparsers(parser_class=parsing.Parser)
    command = commands.add_parser("y")
    command.add_argument("--style")
    command.add_argument("files", nargs="*")
    options = parser.parse_args(["y", "--style=~/a", "b"])
    assert (options.style, options.files) == ("/home/me/a", ["b"])
    with pytest.raises(SystemExit):
        parser.parse_args(["y", "--none=~/a"])
    assert isinstance(options, argparse.Namespace)
