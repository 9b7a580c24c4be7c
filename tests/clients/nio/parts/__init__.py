"""The main job in parts, each with one coroutine `play(world)`."""
