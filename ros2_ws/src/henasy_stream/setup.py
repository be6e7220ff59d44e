"""The ROS 2 package `henasy_stream`.

Its distribution is named henasy-stream-ros and its module henasy_stream_ros: henasy-stream and henasy_stream are those
of the pip package that it needs, and two distributions whose names normalise alike hide each other's entry points.
"""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "henasy_stream"


def files(folder: str) -> list[str]:
    """What is installed of a folder."""
    return sorted(str(path) for path in Path(folder).iterdir() if path.is_file())


setup(
    name="henasy-stream-ros",
    version="0.1.0",
    packages=find_packages(include=["henasy_stream_ros", "henasy_stream_ros.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", files("launch")),
        (f"share/{PACKAGE}/config", files("config")),
    ],
    # Not henasy-stream itself: it may live in a virtual environment that colcon does not see.
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=True,
    maintainer="The henasy-stream team",
    maintainer_email="henasy-stream@example.org",
    description="henasy-stream as a managed ROS 2 node.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["node = henasy_stream_ros.main:main"]},
)
