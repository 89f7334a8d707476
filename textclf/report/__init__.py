"""What people look at: plots as PNG, and model versions as text.

Draws and words what it is given and computes nothing of its own; plots need matplotlib, which serving does not install.
May import the hall and stats/; never data/, training/, runtime/ or a stage.
"""
