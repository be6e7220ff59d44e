"""henasy-stream as a managed ROS 2 node.

What needs rclpy is in `node`, `main`, `ports` and `declare`; all else is free of ROS and tested without it.
"""
