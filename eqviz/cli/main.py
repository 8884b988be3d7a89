"""`eqviz`: the commands, and how errors leave the program: one line on standard error, exit status 2."""

import io
import shlex
import signal
import sys
from collections.abc import Sequence

import rich_click as click

from eqviz.cli.audit import audit
from eqviz.cli.catalogue import list_command
from eqviz.cli.convert import convert
from eqviz.cli.demo import demo
from eqviz.cli.init import init
from eqviz.cli.runs import runs
from eqviz.cli.study import analyse, figures, tables
from eqviz.cli.train import train
from eqviz.errors import EqvizError, one_line

USER_ERROR = 2
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="eqviz")
def cli() -> None:
    """Is my group-equivariant CNN equivariant, in which layer does the symmetry break, and what does it cost?

    Point it at a folder of checkpoints, or at a model before you train it:

    \b
      eqviz demo                         train small networks and make every figure (about 2 minutes)
      eqviz train RECIPE -o CKPT_DIR     train your own from a TOML recipe
      eqviz init CKPT_DIR                describe checkpoints that eqviz did not write
      eqviz figures CKPT_DIR             figures, tables and a page that shows them
      eqviz audit MODEL --input-size N   which operation breaks the symmetry, and which sizes are safe
    """


for command in (demo, train, init, runs, audit, analyse, figures, tables, convert, list_command):
    cli.add_command(command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; without arguments, show the help."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        status = cli.main(args=given, prog_name="eqviz", standalone_mode=False, obj=shlex.join(["eqviz", *given]))
    except EqvizError as error:
        return _fail(str(error))
    except click.UsageError as error:
        about = error.ctx.command_path if error.ctx else "eqviz"
        return _fail(f"{error.format_message().rstrip('.')}; see {about} --help")
    except click.ClickException as error:
        return _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        again = "the same command goes on from there (eqviz train: with --resume)"
        click.echo(f"eqviz: interrupted; what was finished is kept; {again}", err=True)
        return INTERRUPTED
    except OSError as error:
        return _fail(str(_no_access(error)))
    return status if isinstance(status, int) else 0


def _no_access(error: OSError) -> EqvizError:
    return EqvizError(
        str(error.filename or "files"), expected="to read and write it", found=error.strerror or str(error),
        fix="check the path, its permissions, and the room on the disk",
    )  # fmt: skip


def _fail(message: str) -> int:
    click.echo(f"eqviz: {one_line(message)}", err=True)
    return USER_ERROR


def main() -> None:
    """Entry point of the installed command. SIGTERM ends it as Ctrl-C does, its worker processes included."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show is spelt out
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run())
