"""HENASY on live egocentric video: entities that are tracked, actions that are captioned."""

__version__ = "0.1.0"
