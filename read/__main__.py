"""`python -m read` is `read-adapters`."""

import sys

from read.commands import main

sys.exit(main())
