"""What the programs that write the phases' tables and reports share.

Each is a script of verbs beside this file; its usage is the first paragraph of
its own text. Nothing they write depends on the clock.
"""
import json
import os
import signal
import sys


def die(msg):
    sys.exit(f"{os.path.basename(sys.argv[0]).removesuffix('.py')}: {msg}")


def load(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError) as e:
        die(f"{path}: {e}")


def put(path, text):
    """The file appears whole or not at all."""
    with open(path + ".part", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".part", path)


def settings(args):
    """NAME=VALUE... as a dictionary."""
    values = {}
    for a in args:
        name, is_one, value = a.partition("=")
        if not is_one:
            die(f"{a}: not NAME=VALUE")
        values[name] = value
    return values


def number(v, form="%.3f"):
    """For a cell of a report."""
    return "" if v is None else form % v


def plotted(v):
    """For a cell of gnuplot's tables."""
    return "?" if v is None else f"{v:.6g}"


def table(head, rows, text=1):
    """Lines of Markdown. The first `text` columns stand left, the others, which
    are numbers, right. Rows are of anything that str() takes."""
    align = ["---" if i < text else "---:" for i in range(len(head))]
    for row in (head, align, *rows):
        yield "| " + " | ".join(str(x).replace("|", "\\|").replace("\n", " ") for x in row) + " |"


def run(doc, verbs, *errors):
    """Runs the verb that the command line names. verbs: {name: (function, least,
    most)}, how many arguments it takes, most None for any number. Exit 1 for
    data and I/O, 2 for usage. errors: classes of more
    that the data may raise."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.stdout.reconfigure(encoding="utf-8")
    name, args = (sys.argv + [""])[1], sys.argv[2:]
    function, least, most = verbs.get(name, (None, 1, 0))
    if not least <= len(args) <= (len(args) if most is None else most):
        print(doc.split("\n\n")[0], file=sys.stderr)
        sys.exit(2)
    try:
        function(*args)
        sys.stdout.flush()
    except OSError as e:
        # What is still in the buffer would fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        die(str(e))
    except (KeyError, TypeError, ValueError, *errors) as e:
        die(f"a number is missing or wrong: {type(e).__name__}: {e}")
