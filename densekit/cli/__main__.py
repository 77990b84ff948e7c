"""``python -m densekit.cli``: the command line without the installed script."""

from densekit.cli.app import app

if __name__ == "__main__":
    app(prog_name="densekit")
