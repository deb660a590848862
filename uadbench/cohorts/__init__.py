"""Where scans come from: the embedded phantom, CAPS trees; and how participants are split."""
