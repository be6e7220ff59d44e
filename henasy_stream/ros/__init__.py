"""What a ROS 2 graph sees of a node: names, types and contents, without ROS.

`topics` names them, `interfaces` holds the definitions, `type_hash` their hashes, `fields` and `images` turn our
messages and perceptions into nested dictionaries of a ROS message's fields.  Both ways to publish use these: the DDS
sink of this package (`--publish ros2`), and the rclpy node in `ros2_ws`, which fills its message classes from the same
dictionaries.  Nothing here imports ROS.
"""
