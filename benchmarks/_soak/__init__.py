"""`make soak`: the node for as long as one likes, at full speed, with faults at random by seed."""
