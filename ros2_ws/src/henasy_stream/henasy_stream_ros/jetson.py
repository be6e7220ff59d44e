"""Temperature and power mode of a Jetson, where they can be read.

Free of ROS.  Paths are those of JetPack 5 to 7; on other machines nothing is found, and nothing is told.
"""

from __future__ import annotations

from pathlib import Path

HOT_C = 85.0
"""From about here on a Jetson lowers its clocks."""


def machine(root: Path = Path("/")) -> dict[str, str]:
    """What can be read, by name; empty on a machine that is no Jetson.

    Args:
        root: of the file system.
    """
    if not (root / "etc/nv_tegra_release").exists() and not (root / "etc/nvpmodel.conf").exists():
        return {}
    found = {}
    temperature = hottest(root)
    if temperature is not None:
        found["temperature (C)"] = f"{temperature:.1f}"
    mode = power_mode(root)
    if mode:
        found["power mode"] = mode
    return found


def hottest(root: Path = Path("/")) -> float | None:
    """The highest temperature of all thermal zones, in degrees Celsius."""
    temperatures = []
    for path in sorted((root / "sys/class/thermal").glob("thermal_zone*/temp")):
        try:
            value = int(path.read_text()) / 1000
        except (OSError, ValueError):  # zones of parts that are switched off cannot be read
            continue
        if -40 < value < 150:
            temperatures.append(value)
    return max(temperatures, default=None)


def power_mode(root: Path = Path("/")) -> str:
    """Number and, where its table says it, name of the power mode; empty when it cannot be read."""
    try:
        # "pmode:0000", as nvpmodel left it
        number = int((root / "var/lib/nvpmodel/status").read_text().split(":")[1])
    except (OSError, ValueError, IndexError):
        return ""
    name = _mode_names(root / "etc/nvpmodel.conf").get(number)
    return f"{number} ({name})" if name else str(number)


def _mode_names(path: Path) -> dict[int, str]:
    """Of lines such as `< POWER_MODEL ID=0 NAME=MAXN >`."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    names = {}
    for line in lines:
        words = line.split()
        if words[:2] == ["<", "POWER_MODEL"]:
            values = dict(word.split("=", 1) for word in words if "=" in word)
            if values.get("ID", "").isdigit():
                names[int(values["ID"])] = values.get("NAME", "")
    return names
