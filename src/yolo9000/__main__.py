"""``python -m yolo9000``: the command, also for ``torchrun -m yolo9000 train``."""

from yolo9000.cli.app import main

if __name__ == "__main__":  # processes that prepare images may import this module again
    main()
