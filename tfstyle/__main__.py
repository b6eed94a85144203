"""`python -m tfstyle`: the same as the `tfstyle` command."""

import sys

from tfstyle import cli

sys.exit(cli.main())
