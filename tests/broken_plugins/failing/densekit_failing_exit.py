"""A plugin that ends the process at import."""

import sys

sys.exit("this plugin does not support this platform")
