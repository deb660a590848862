"""Models, one architecture per file, with their contract (`base`), shared layers (`layers`) and checkpoints."""
