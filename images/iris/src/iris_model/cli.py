# SPDX-License-Identifier: Apache-2.0
"""The command line. Each command imports only what it needs: serving runs where no training library is installed."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from iris_model import IrisError, __version__

if TYPE_CHECKING:
    from iris_model.training import Hyperparameters


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, or 1 with one line on stderr that says what is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # the last attempt's failure says it all
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except IrisError as error:
        print(f"iris-model: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"iris-model: {error}: each of the two images has only what its own commands need", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="iris-model", description="Train, choose and serve a small model.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True)

    export = commands.add_parser("export", help="write the data set as CSV")
    export.add_argument("output", nargs="?", type=Path, default=Path("iris.csv"))
    export.set_defaults(command=_export)

    train = commands.add_parser("train", help="cross-validate, train and log one model", parents=[_training_options()])
    train.set_defaults(command=_train)

    pipeline = commands.add_parser(
        "pipeline", help="train, register, and let the better model serve", parents=[_training_options()]
    )
    pipeline.add_argument("--metric", choices=("accuracy", "macro_f1"), default="accuracy", help="what is compared")
    pipeline.add_argument("--margin", type=float, default=0.0, help="by how much the champion must be surpassed")
    pipeline.add_argument("--minimum", type=float, default=0.8, help="what a champion must reach in any case")
    pipeline.set_defaults(command=_pipeline)

    predict = commands.add_parser("predict", help="predict with the best model, or those named")
    predict.add_argument("input", nargs="?", type=Path, help="CSV with the four features (default: the data set)")
    predict.add_argument("--sample", help="one row, such as 6.1,3.5,2.4,0.2")
    predict.add_argument("--model-uri", action="append", default=[], help="models:/NAME@ALIAS, runs:/ID/model, folder")
    predict.add_argument("--run-id", action="append", default=[], help="the model that this run logged")
    predict.add_argument("--output", type=Path, default=Path("model_predictions.csv"))
    predict.set_defaults(command=_predict)

    serve = commands.add_parser("serve", help="answer predictions over HTTP")
    serve.add_argument("--host", default=os.environ.get("HOST", "127.0.0.1"))
    serve.add_argument("--port", type=int, default=os.environ.get("PORT", "8080"))
    serve.add_argument("--workers", type=int, default=os.environ.get("WORKERS", "2"), help="processes")
    serve.set_defaults(command=_serve)
    return parser


def _training_options() -> argparse.ArgumentParser:
    """Return the options that `train` and `pipeline` share; their defaults are Hyperparameters' own."""
    options = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    options.add_argument("--data", type=Path, default=None, help="CSV as `export` writes it (or $DATA_DIR/iris.csv)")
    for name in ("n-estimators", "max-depth", "min-samples-split", "min-samples-leaf"):
        options.add_argument(f"--{name}", type=int)
    options.add_argument("--criterion", choices=("gini", "entropy", "log_loss"))
    options.add_argument("--noise-scale", type=float, help="noise on copies of training rows, in standard deviations")
    options.add_argument("--noise-copies", type=int, help="noisy copies of each training row")
    options.add_argument("--folds", type=int, help="parts of the cross-validation")
    options.add_argument("--seed", type=int)
    return options


def _data_file(options: argparse.Namespace) -> Path | None:
    if options.data is None and (folder := os.environ.get("DATA_DIR")):
        return Path(folder) / "iris.csv"
    data: Path | None = options.data
    return data


def _model_name() -> str:
    return os.environ.get("MODEL_NAME") or "iris"


def _export(options: argparse.Namespace) -> None:
    from iris_model import data

    dataset = data.load(None)
    data.export(dataset, options.output)
    print(f"{options.output}: {len(dataset)} rows")


def _train(options: argparse.Namespace) -> None:
    from iris_model import data, pipeline

    trained, _ = pipeline.train(data.load(_data_file(options)), _hyperparameters(options))
    print(json.dumps({"run_id": trained.run_id, "metrics": trained.metrics}, indent=2))


def _pipeline(options: argparse.Namespace) -> None:
    from iris_model import data, pipeline

    rule = pipeline.Rule(options.metric, options.margin, options.minimum)
    parameters, destination = _hyperparameters(options), pipeline.result_file()
    result = pipeline.run(data.load(_data_file(options)), parameters, _model_name(), rule)
    if destination:
        result.write(destination)
    print(json.dumps(asdict(result), indent=2))


def _hyperparameters(options: argparse.Namespace) -> Hyperparameters:
    """Return the hyperparameters that were given, with the defaults of the rest."""
    from iris_model.training import Hyperparameters

    names = {field.name for field in fields(Hyperparameters)}
    return Hyperparameters(**{name: value for name, value in vars(options).items() if name in names})


def _predict(options: argparse.Namespace) -> None:
    from iris_model import data, prediction

    uris = [*options.model_uri, *(f"runs:/{run_id}/model" for run_id in options.run_id)]
    if options.sample:
        samples = data.parse_sample(options.sample)
    else:
        samples = data.load_samples(options.input) if options.input else data.Samples(data.builtin().features, {})
    rows = list(prediction.predict(uris or [f"models:/{_model_name()}@champion"], samples))
    prediction.write(rows, options.output)
    failed = [row for row in rows if row.error]
    if options.sample:
        for row in rows:
            if not row.error:
                print(f"{row.prediction} {row.species} (probability {row.probability:.3f}, {row.model})")
    else:
        print("\n".join(prediction.summary(rows)))
    print(f"{options.output}: {len(rows) - len(failed)} predictions, {len(failed)} failed", file=sys.stderr)
    if failed:
        raise IrisError(failed[0].error)


def _serve(options: argparse.Namespace) -> None:
    from iris_model.serving import server

    server.serve(options.host, options.port, options.workers)
