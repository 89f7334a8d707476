"""Steps of `textclf data audit`: read all parts, look for problems, write the review file, apply corrections."""
