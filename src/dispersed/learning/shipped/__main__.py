"""Train a network that comes with the library again: `python -m dispersed.learning.shipped NAME FOLDER`."""

import argparse

from dispersed.learning.shipped import SHIPPED, train_again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SHIPPED)
    parser.add_argument("folder", help="where weights and checkpoint go")
    parser.add_argument("--steps", type=int, default=None, help="steps, if not those of the library")
    asked = parser.parse_args()
    print(train_again(asked.name, asked.folder, asked.steps))


if __name__ == "__main__":
    main()
