"""Which weights make a unit and which take its output, proven on the run itself."""
