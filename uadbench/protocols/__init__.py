"""The frozen protocols, and the schema that each of them keeps."""
