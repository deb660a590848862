"""Checks of a cohort before training: problems of images, tables and splits (`uadbench cohort check`)."""
