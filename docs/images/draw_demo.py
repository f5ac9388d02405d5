"""Draw what `make demo` prints, for the README: python docs/images/draw_demo.py runs/digits-node-classification."""

import io
import json
import re
import shutil
import sys
from pathlib import Path

from rich.console import Console

from msg.cli.display import report

here, run = Path(__file__).parent, Path(sys.argv[1])
console = Console(record=True, width=88, file=io.StringIO(), force_terminal=True)
console.print("$ make demo")
report(json.loads((run / "results.json").read_text()), console)
svg = console.export_svg(title="make demo")
# without the fonts that rich would fetch from the network
(here / "demo.svg").write_text(re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL))
shutil.copy(run / "curves.png", here / "demo-curves.png")
