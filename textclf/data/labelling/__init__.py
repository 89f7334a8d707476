"""The labelling queue: texts of the prediction log to label, their signatures, and files for other labelling tools."""
