"""`python -m seqae`: the console command, as torchrun starts it."""

import sys

from seqae.cli import main

sys.exit(main())
