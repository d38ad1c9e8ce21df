"""`hdt-fm twin WORD`: words, help, mistakes; without anything heavy before a word runs."""

import subprocess
import sys
from importlib import import_module

import pytest

from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.twin import WORDS


@pytest.mark.parametrize("arguments", [["twin"], ["twin", "--help"]])
def test_every_word_is_told(arguments, capsys):
    assert main(arguments) == EXIT_OK
    out = capsys.readouterr().out
    assert "alert" in WORDS
    assert all(f"  {word:<9} {summary}" in out for word, summary in WORDS.items())


@pytest.mark.parametrize("word", list(WORDS))
def test_every_word_is_a_file_that_helps(word, capsys):
    assert callable(import_module(f"hdt_fm.cli.twin.{word.replace('-', '_')}").run)
    for arguments in (["twin", word, "--help"], ["twin", word]):
        assert main(arguments) == EXIT_OK
        out = capsys.readouterr().out
        assert out.startswith(f"usage: hdt-fm twin {word}")
        assert "example" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["twin", "alrt"], "did you mean 'alert'?"),
        (["twin", "alert", "--dry-run"], "composes no config"),
        (["twin", "alert", "--multirun"], "composes no config"),
    ],
)
def test_a_mistake_is_named(arguments, words, capsys):
    assert main(arguments) == EXIT_USER_ERROR
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["twin"], ["twin", "alert", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys; from hdt_fm.cli.main import main; status = main(sys.argv[1:]);"
        "print('HEAVY', [m for m in ('torch', 'hydra', 'pandas', 'scipy') if m in sys.modules], status)"
    )
    out = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "HEAVY [] 0"
