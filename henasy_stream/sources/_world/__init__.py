"""The synthetic egocentric world: vocabulary, sprites, motion, scenes and their rendering.  Use `henasy_stream.sources.world`."""
