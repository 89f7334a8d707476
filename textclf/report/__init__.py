"""Results for people: plots, drift reports and tables of model versions.

Computes no results. Plots need matplotlib, which serving does not install.
"""
