# SPDX-License-Identifier: Apache-2.0
"""Accuracy of ordinary networks in the graded code: float and graded on the same samples, as a table.

python -m sim_tests.referees.graded_table --data mnist:DIR net.onnx other.onnx
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emu.spec import preset
from mapping.codes.choice import CODES, Request
from mapping.codes.graded.convert import GradedOptions
from mapping.datasets.calibration import calibration_data
from mapping.datasets.load import CALIBRATION, Dataset, load_data, scaled
from mapping.errors import MappingError
from mapping.model.load import load_network
from mapping.model.network import Network
from mapping.report.activity import Activity, observe
from sim_tests.referees.plain_arrays import sinabs_network

__all__ = ["CHOICES", "main", "row"]

CHOICES = ((8, 5), (8, 3), (4, 3))
"""Bits of an activation and digits of a weight."""

HEAD = """| network | bits, digits | samples | float | graded | difference, 95 % interval | agreement |
|---|---|---|---|---|---|---|"""


def row(network: Network, activity: Activity, bits: int, digits: int) -> str:
    """Return a line of the table."""
    mean, low, high = (f"{100 * value:+.2f}" for value in activity.difference or (0.0, 0.0, 0.0))
    shares = (activity.float_accuracy, activity.accuracy, activity.agreement)
    real, graded, agreement = ("-" if share is None else f"{100 * share:.2f} %" for share in shares)
    cells = (network.name, f"{bits}, {digits}", activity.samples, real, graded, f"{mean} ({low} .. {high})")
    return f"| {' | '.join(map(str, cells))} | {agreement} |"


def _activity(
    network: Network, data: Dataset, calibration: Dataset, core: str, options: GradedOptions
) -> Activity:
    request = Request(spec=preset(core), samples=calibration.x, options=options)
    return observe(CODES["graded"].convert(network, request), data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="ONNX files of ordinary networks, or the arrays of sinabs's",
    )
    parser.add_argument("--data", required=True, help="data as the command line takes them")
    parser.add_argument(
        "--calibration", help="data to choose scales on; by default the training part of --data"
    )
    parser.add_argument("--calibrate", type=int, help=f"how many of them, by default {CALIBRATION}")
    parser.add_argument("--core", default="reference", help="core preset")
    parser.add_argument("--samples", type=int, help="only the first samples")
    chosen = parser.parse_args(arguments)
    try:
        print(HEAD)
        for model in chosen.models:
            network = sinabs_network(Path(model)) if model.endswith(".npz") else load_network(model)
            data, how = scaled(load_data(chosen.data).first(chosen.samples), "auto", network)
            given = calibration_data(chosen.calibration or chosen.data, chosen.calibrate)
            calibration, _ = scaled(given, how, network)
            for bits, digits in CHOICES:
                options = GradedOptions(bits=bits, digits=digits)
                activity = _activity(network, data, calibration, chosen.core, options)
                print(row(network, activity, bits, digits), flush=True)
    except MappingError as error:
        print(f"graded_table: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
