"""The benchmark of audits, in its quick form: what it says of false alarms and of planted copies."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_false_alarms_power_and_time_are_measured(tmp_path):
    file = tmp_path / "lines.json"
    command = [sys.executable, "-m", "benchmarks.audit", "--quick", "--json", file]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert len(found["alarms"]) >= 11
    # Few samples: at a nominal 1 %, 3 % of them would be three standard deviations off.
    assert all(called < 0.03 and holds > 0.5 for _, called, _, _, holds, _ in found["alarms"])
    third = {name: rate for name, _, _, rate, _, _ in found["alarms"]}
    assert third["trefoil"] > 0.2
    power = {name: share for name, share, _, _ in found["power"]}
    assert power["equal"] > 0.9
    assert power["noise of 0.05 a pixel"] > 0.9
    assert power["shifted, by spectra"] > 0.9
    assert power["shifted by a pixel"] < 0.5
    assert all(math.isfinite(seconds) and seconds > 0 for _, seconds in found["times"])
