"""How fast the annotators of `tools.load` and `tools.load.simulate` work."""

PAUSE_S = (2.0, 4.0)  # between the actions of an annotator
CLICKS, OBJECTS = 3, 4  # clicks on an object, objects in a picture
