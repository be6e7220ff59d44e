"""The synthetic egocentric world: words, sprites, motion, scenes, rendering.  Use `henasy_stream.sources.world`."""
