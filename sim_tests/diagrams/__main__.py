# SPDX-License-Identifier: Apache-2.0
"""``python -m sim_tests.diagrams``: simulate every timing diagram and write it beside the pages."""

from sim_tests.diagrams.files import FOLDER, sources, with_texts, write
from sim_tests.diagrams.systems import EXAMPLE, example_texts

__all__: list[str] = []

if __name__ == "__main__":
    for name, source in sources().items():
        write(FOLDER, name, source)
        print(FOLDER / f"{name}.svg")
    EXAMPLE.write_text(with_texts(EXAMPLE.read_text(encoding="utf-8"), example_texts()), encoding="utf-8")
    print(EXAMPLE)
