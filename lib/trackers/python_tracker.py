"""Hands rows of metrics to wandb or trackio, whose documented interface is Python's: init, log, finish.

Reads JSON lines from standard input and answers each with a line on standard output once the library has it.
"""

import importlib
import json
import sys

answers = sys.stdout
# What the libraries print is no answer.
sys.stdout = sys.stderr


def begin(name, options):
    library = importlib.import_module(name)
    if name == "trackio":
        library.init(project=options["project"], name=options["name"], config=options["config"], resume="allow")
        return library
    run = library.init(
        project=options["project"],
        id=options["id"],
        name=options["name"],
        config=options["config"],
        dir=options["folder"],
        resume="allow",
    )
    for stage in options["stages"]:
        # Each stage counts steps of its own.
        run.define_metric(f"{stage}/step")
        run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
    return run


def log(name, target, rows):
    for row in rows:
        stage, step = row.pop("stage"), row.pop("step")
        figures = {f"{stage}/{key}": value for key, value in row.items()}
        if name == "trackio":
            target.log(figures, step=step)
        else:
            target.log({**figures, f"{stage}/step": step})


def main():
    name = sys.argv[1]
    target = None
    for line in sys.stdin:
        message = json.loads(line)
        if "begin" in message:
            target = begin(name, message["begin"])
        else:
            log(name, target, message["rows"])
        print("{}", file=answers, flush=True)
    if target is not None:
        target.finish()


main()
